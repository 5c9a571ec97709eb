//! System calls that a confined process must not have, tried. In programs for tests alone.

use nix::errno::Errno;
use nix::libc;

/// Those that there are. Each is made with arguments of nothing, with which none does anything.
pub(in super::super) fn forbidden_calls() -> Vec<&'static str> {
    let exists = |call: libc::c_long| {
        let nothing: libc::c_long = 0;
        // SAFETY: whatever it is that the kernel looks for, it does not find it at address 0, and with
        // numbers of 0 none of these does more than to give a descriptor.
        let result =
            unsafe { libc::syscall(call, nothing, nothing, nothing, nothing, nothing, nothing) };
        result != -1 || Errno::last() != Errno::ENOSYS
    };
    let calls = CALLS.iter().filter(|(_, call)| exists(*call));
    let code = code_can_be_made().then_some("mmap of memory for code");
    calls.map(|(name, _)| *name).chain(code).collect()
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

const CALLS: [(&str, libc::c_long); 38] = [
    ("add_key", libc::SYS_add_key),
    ("bind", libc::SYS_bind),
    ("bpf", libc::SYS_bpf),
    ("chroot", libc::SYS_chroot),
    ("clone3", libc::SYS_clone3),
    ("connect", libc::SYS_connect),
    ("execveat", libc::SYS_execveat),
    ("fcntl to duplicate as it pleases", libc::SYS_fcntl),
    ("finit_module", libc::SYS_finit_module),
    ("init_module", libc::SYS_init_module),
    ("ioctl of no number", libc::SYS_ioctl),
    ("io_setup", libc::SYS_io_setup),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("keyctl", libc::SYS_keyctl),
    ("listen", libc::SYS_listen),
    ("memfd_create", libc::SYS_memfd_create),
    ("mount", libc::SYS_mount),
    ("move_mount", libc::SYS_move_mount),
    ("mq_open", libc::SYS_mq_open),
    ("name_to_handle_at", libc::SYS_name_to_handle_at),
    ("newfstatat", libc::SYS_newfstatat),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("openat2", libc::SYS_openat2),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("prctl of no number", libc::SYS_prctl),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("sendfile", libc::SYS_sendfile),
    ("setns", libc::SYS_setns),
    ("setsockopt of no number", libc::SYS_setsockopt),
    ("shmget", libc::SYS_shmget),
    ("socket", libc::SYS_socket),
    ("statx", libc::SYS_statx),
    ("tgkill of others", libc::SYS_tgkill),
    ("umount2", libc::SYS_umount2),
    ("userfaultfd", libc::SYS_userfaultfd),
];
