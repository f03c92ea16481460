//! What the C library's allocator does with memory that was freed.
#![allow(unsafe_code)]

/// Lets the allocator keep so many free bytes, in each of its arenas, instead of giving them back to
/// the kernel at once. At first it keeps 128 KiB, and whoever needs more than that again and again
/// pays for every page every time. Pieces of up to half of that are kept too: without a word about them
/// the first one would end the allocator's own growth of that limit, and each would be a mapping of its
/// own.
///
/// For the whole process, so a matter for programs only. Other C libraries than GNU's decide
/// themselves.
pub fn keep_free(bytes: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two numbers, and changes no memory that anybody has.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, bytes);
        libc::mallopt(libc::M_MMAP_THRESHOLD, bytes / 2);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = bytes;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_env = "gnu")]
    #[test]
    fn the_option_is_one_that_the_library_knows() {
        // mallopt(3): 1 on success.
        // SAFETY: as above.
        assert_eq!(unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, 4 << 20) }, 1);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 2 << 20) }, 1);
        keep_free(4 << 20);
    }
}
