//! What the daemon sees of the machine: a root of its own, with next to nothing in it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use coriolis_ovm_exporter::operations::demo::daemon::Daemon;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{chdir, chroot};

use super::filter;
use super::kernel::Kernel;
use super::trace::{Trace, WATCHED};
use crate::guest::mount::Mount;
use crate::node::{self, within};

const PROGRAM: &str = "/usr/sbin/coriolis-ovm-exporter";

/// glibc would load the modules named here, if it were asked.
const NSSWITCH: &str = "passwd: files sss\ngroup: files sss\nhosts: files nis sss dns\n";
const RESOLV: &str = "nameserver 127.0.0.1\n";

pub struct Root {
    path: PathBuf,
    _repository: Mount,
}

impl Root {
    /// Devices, names, the program, and the repository from `device`. No /proc, no /sys, no /tmp.
    pub fn make(path: &Path, device: &Path) -> Root {
        for folder in ["dev", "etc", "bin", "usr/sbin"] {
            fs::create_dir_all(path.join(folder)).unwrap();
        }
        for (name, minor) in [("null", 3), ("random", 8), ("urandom", 9)] {
            let device = path.join("dev").join(name);
            let mode = Mode::from_bits_truncate(0o666);
            mknod(&device, SFlag::S_IFCHR, mode, makedev(1, minor)).unwrap();
        }
        fs::write(path.join("etc/nsswitch.conf"), NSSWITCH).unwrap();
        fs::write(path.join("etc/resolv.conf"), RESOLV).unwrap();
        fs::hard_link("coriolis-ovm-exporter", within(path, PROGRAM)).unwrap();
        // The daemon's paths mean the same files here.
        let _ = fs::remove_file("/OVS");
        symlink(path.join("OVS"), "/OVS").unwrap();
        let point = within(path, &node::repository().to_string_lossy());
        Root {
            path: path.to_owned(),
            _repository: Mount::ocfs2(device, &point),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in the daemon's own folder.
    pub fn file(&self, name: &str) -> PathBuf {
        within(&self.path, node::FOLDER).join(name)
    }

    pub fn hosts(&self, lines: &str) {
        let text = format!("127.0.0.1 localhost\n{lines}");
        fs::write(self.path.join("etc/hosts"), text).unwrap();
    }

    /// A toolstack on which that machine runs.
    pub fn toolstack(&self, machine: &str) {
        fs::copy("/bin/busybox", self.path.join("bin/busybox")).unwrap();
        let script = format!(
            "#!/bin/busybox sh\n\
             echo 'Name                             ID   Mem VCPUs      State   Time(s)'\n\
             echo 'Domain-0                          0   834     4     r-----   9301.7'\n\
             echo '{machine}  3  2048     2     -b----    120.4'\n"
        );
        let path = self.path.join("usr/sbin/xm");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Starts the daemon in here, on that kernel. Its trace is complete when it has ended.
    pub fn start(&self, kernel: &'static Kernel) -> (Daemon, JoinHandle<Trace>) {
        let program = within(&self.path, PROGRAM);
        let (sender, receiver) = mpsc::channel();
        let trace = thread::spawn(move || {
            let listener = receiver.recv().unwrap();
            Trace::take(&listener, kernel, &program)
        });
        let path = self.path.clone();
        // A thread with a root of its own, that has the filter and hands both on to its child.
        let starter = thread::spawn(move || {
            filter::unshare_root();
            chroot(&path).unwrap();
            chdir("/").unwrap();
            let listener = filter::install(kernel.last_call(), WATCHED);
            sender.send(listener).unwrap();
            Daemon::start(Path::new(PROGRAM), Path::new(node::FOLDER)).unwrap()
        });
        let daemon = starter.join().unwrap();
        (daemon, trace)
    }
}
