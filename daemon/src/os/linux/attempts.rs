//! System calls that a confined process must not have, tried. In programs for tests alone.

use nix::errno::Errno;
use nix::libc::{self, c_long};

/// Those that there are. Each is made of a descriptor that is none and of nothing else, by which none
/// does anything.
pub(in super::super) fn forbidden_calls() -> Vec<&'static str> {
    let calls = CALLS
        .iter()
        .filter(|(_, call, arguments)| exists(*call, *arguments));
    let code = code_can_be_made().then_some("mmap of memory for code");
    calls.map(|(name, ..)| *name).chain(code).collect()
}

fn exists(call: c_long, [first, second, third, fourth, fifth]: [c_long; 5]) -> bool {
    let last: c_long = 0;
    // SAFETY: whatever it is that the kernel looks for, it does not find it at descriptor -1 or at an
    // address in the first page; with numbers like these none does more than to give a descriptor.
    let result = unsafe { libc::syscall(call, first, second, third, fourth, fifth, last) };
    result != -1 || Errno::last() != Errno::ENOSYS
}

fn code_can_be_made() -> bool {
    let (all, flags) = (
        libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: new memory, at a place that the kernel chooses, which nobody uses.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), 4096, all, flags, -1, 0) };
    memory != libc::MAP_FAILED
}

/// Of a descriptor that is none.
const NONE: [c_long; 5] = [-1, 0, 0, 0, 0];

const ZEROES: [c_long; 5] = [0; 5];

/// To an address, which makes no difference at a descriptor that is none.
const TO: [c_long; 5] = [-1, 0, 0, 0, 8];

const FAST_OPEN: [c_long; 5] = [-1, 0, libc::MSG_FASTOPEN as c_long, 0, 0];

const BOTH_WAYS: [c_long; 5] = [-1, libc::SHUT_RDWR as c_long, 0, 0, 0];

const CALLS: [(&str, c_long, [c_long; 5]); 41] = [
    ("add_key", libc::SYS_add_key, ZEROES),
    ("bind", libc::SYS_bind, NONE),
    ("bpf", libc::SYS_bpf, NONE),
    ("chroot", libc::SYS_chroot, ZEROES),
    ("clone3", libc::SYS_clone3, ZEROES),
    ("connect", libc::SYS_connect, NONE),
    ("execveat", libc::SYS_execveat, NONE),
    ("fcntl to duplicate as it pleases", libc::SYS_fcntl, NONE),
    ("finit_module", libc::SYS_finit_module, NONE),
    ("init_module", libc::SYS_init_module, ZEROES),
    ("ioctl of no number", libc::SYS_ioctl, NONE),
    ("io_setup", libc::SYS_io_setup, ZEROES),
    ("io_uring_setup", libc::SYS_io_uring_setup, ZEROES),
    ("keyctl", libc::SYS_keyctl, NONE),
    ("listen", libc::SYS_listen, NONE),
    ("memfd_create", libc::SYS_memfd_create, ZEROES),
    ("mount", libc::SYS_mount, ZEROES),
    ("move_mount", libc::SYS_move_mount, NONE),
    ("mq_open", libc::SYS_mq_open, ZEROES),
    ("name_to_handle_at", libc::SYS_name_to_handle_at, NONE),
    ("newfstatat", libc::SYS_newfstatat, NONE),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, NONE),
    ("openat2", libc::SYS_openat2, NONE),
    ("perf_event_open", libc::SYS_perf_event_open, ZEROES),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, NONE),
    ("pidfd_open", libc::SYS_pidfd_open, NONE),
    ("prctl of no number", libc::SYS_prctl, NONE),
    ("process_vm_readv", libc::SYS_process_vm_readv, NONE),
    ("process_vm_writev", libc::SYS_process_vm_writev, NONE),
    ("sendfile", libc::SYS_sendfile, NONE),
    ("sendmsg that connects", libc::SYS_sendmsg, FAST_OPEN),
    ("sendto an address", libc::SYS_sendto, TO),
    ("setns", libc::SYS_setns, NONE),
    ("setsockopt of no number", libc::SYS_setsockopt, NONE),
    ("shmget", libc::SYS_shmget, ZEROES),
    ("shutdown of a listener", libc::SYS_shutdown, BOTH_WAYS),
    ("socket", libc::SYS_socket, NONE),
    ("statx", libc::SYS_statx, NONE),
    ("tgkill of others", libc::SYS_tgkill, NONE),
    ("umount2", libc::SYS_umount2, ZEROES),
    ("userfaultfd", libc::SYS_userfaultfd, ZEROES),
];
