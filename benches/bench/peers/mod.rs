//! Other programs that do the same, from Debian's packages: started here, ended here.

pub mod cp;
pub mod nbd;
pub mod nginx;
pub mod openssl;
pub mod rsync;
pub mod scan;
