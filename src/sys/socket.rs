//! What the kernel knows about a TCP connection.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes in the send queue that the peer has not acknowledged (`SIOCOUTQ`, tcp(7)).
///
/// It shrinks as soon as a slow peer takes anything, long before the socket becomes writable
/// again: the kernel reports it writable only when a third of the send buffer is free.
///
/// # Errors
/// What the system call says; not for a connected TCP socket.
///
/// ```
/// # use std::os::fd::AsFd;
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let socket = std::net::TcpStream::connect(listener.local_addr()?)?;
/// assert_eq!(coriolis_ovm_exporter::sys::socket::unacknowledged_bytes(socket.as_fd())?, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[allow(unsafe_code)]
pub fn unacknowledged_bytes(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut queued: libc::c_int = 0;
    // SAFETY: the descriptor is borrowed, so open; SIOCOUTQ (the same number as TIOCOUTQ) writes
    // one int through the pointer, which points to one that outlives the call.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(queued).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;

    #[test]
    fn the_number_is_that_of_the_kernel_headers() {
        // include/uapi/asm-generic/ioctls.h
        assert_eq!(libc::TIOCOUTQ, 0x5411);
    }

    #[test]
    fn the_queue_grows_when_the_peer_does_not_read_and_shrinks_when_it_does() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        let block = vec![7_u8; 64 * 1024];
        while ours.write(&block).is_ok() {}
        let full = unacknowledged_bytes(ours.as_fd()).unwrap();
        assert!(full > 0);
        let mut taken = vec![0_u8; 16 * 1024 * 1024];
        let mut shrunk = false;
        peer.set_read_timeout(Some(std::time::Duration::from_secs(5)))
            .unwrap();
        for _ in 0..1000 {
            let read = peer.read(&mut taken).unwrap();
            assert!(read > 0);
            if unacknowledged_bytes(ours.as_fd()).unwrap() < full {
                shrunk = true;
                break;
            }
        }
        assert!(shrunk, "nothing of {full} bytes was acknowledged");
    }
}
