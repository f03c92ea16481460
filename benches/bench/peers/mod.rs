//! Other programs that do the same, from Debian's packages: started here, ended here.

pub mod nginx;
pub mod scan;
