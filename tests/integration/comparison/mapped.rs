//! Writing through a shared mapping.
#![allow(unsafe_code)]

use std::fs::File;

use memmap2::MmapOptions;

/// Puts `bytes` at `offset`. With `sync`, the pages are written out before this returns; without,
/// nobody has been told of them but the kernel's page tables. The mapping may reach past the end
/// of the file within its last page, as a real mapping does.
pub fn write(file: &File, offset: u64, bytes: &[u8], sync: bool) {
    let start = offset / 4096 * 4096;
    let lead = usize::try_from(offset - start).unwrap();
    let length = (lead + bytes.len()).next_multiple_of(4096);
    // SAFETY: nothing else has this file open for shortening while the mapping lives: the test's
    // guest does one thing at a time and the mapping ends with this function. Its pages exist:
    // the caller writes no page that lies past the end of the file.
    let mut map = unsafe {
        MmapOptions::new()
            .offset(start)
            .len(length)
            .map_mut(file)
            .unwrap()
    };
    map[lead..lead + bytes.len()].copy_from_slice(bytes);
    if sync {
        map.flush().unwrap();
    }
}
