//! seccomp: the system calls that there are; all others do not exist.
//!
//! A list of what is allowed, for what a list of forbidden calls lacks comes with the next kernel. A
//! call that is not on it fails with `ENOSYS`, as on a kernel without it: that is what C libraries fall
//! back from when they try a newer call first (glibc's clone3), and whoever means harm gets no further
//! than with a signal. To kill instead would make each C library that asks something new, if only in a
//! corner, the end of the storage of all hosts.
//!
//! No call on it takes a path, and none makes a socket or another process. What depends on memory that
//! an argument points to cannot be judged here: so clone3 and openat2 have no chance, and fstat goes by
//! its own call only, because newfstatat and statx take paths too.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) use allowed::install;

/// Other machines have other numbers, and nobody has tried them.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn install(_: super::super::Profile) -> std::io::Result<()> {
    Err(std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        "there is no list of system calls for this kind of machine",
    ))
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod allowed {
    use std::collections::BTreeMap;
    use std::env::consts::ARCH;
    use std::io;

    use nix::libc;
    use seccompiler::{
        BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
        SeccompFilter, SeccompRule,
    };

    use super::super::super::Profile;
    use super::super::ioctl::{BLKDISCARD, BLKZEROOUT};

    type Rules = BTreeMap<i64, Vec<SeccompRule>>;

    /// Installs it, for this thread and whatever it starts.
    pub(in super::super) fn install(profile: Profile) -> io::Result<()> {
        let program = program(profile).map_err(io::Error::other)?;
        seccompiler::apply_filter(&program).map_err(io::Error::other)
    }

    fn program(profile: Profile) -> Result<BpfProgram, BackendError> {
        let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
        let rules = rules(profile)?;
        SeccompFilter::new(rules, missing, SeccompAction::Allow, ARCH.try_into()?)?.try_into()
    }

    fn rules(profile: Profile) -> Result<Rules, BackendError> {
        let mut rules = Rules::new();
        let mut whole = [WHOLE, OF_THIS_MACHINE, FOR_THE_FAKE].concat();
        let mut some = SOME.to_vec();
        // Only to ourselves: how abort(3) ends.
        let process = u64::from(std::process::id());
        some.push((libc::SYS_tgkill, Argument::Is(0, process)));
        if profile == Profile::Announcer {
            whole.extend(NETWORK);
            whole.extend(NETWORK_OF_THIS_MACHINE);
            // An interface's number by its name.
            some.push((libc::SYS_ioctl, Argument::Is(1, libc::SIOCGIFINDEX)));
            for family in [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
                let family = u64::from(family.unsigned_abs());
                some.push((libc::SYS_socket, Argument::Is(0, family)));
            }
        }
        for (call, argument) in some {
            let rule = SeccompRule::new(argument.conditions()?)?;
            rules.entry(call).or_default().push(rule);
        }
        for (level, option) in SOCKET_OPTIONS {
            let level = Argument::Is(1, u64::from(level.unsigned_abs())).conditions()?;
            let option = Argument::Is(2, u64::from(option.unsigned_abs())).conditions()?;
            let rule = SeccompRule::new([level, option].concat())?;
            rules.entry(libc::SYS_setsockopt).or_default().push(rule);
        }
        // What is allowed whole is so whatever is said of its arguments.
        for call in whole {
            rules.insert(call, Vec::new());
        }
        Ok(rules)
    }

    /// What an argument must be, by its place.
    #[derive(Clone, Copy)]
    enum Argument {
        /// No address.
        Null(u8),
        /// This, in its lower 32 bits.
        Is(u8, u64),
        /// These of them are these.
        Has(u8, u64, u64),
    }

    impl Argument {
        fn conditions(self) -> Result<Vec<SeccompCondition>, BackendError> {
            let (place, length, compare, value) = match self {
                Self::Null(place) => (place, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
                Self::Is(place, value) => (place, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value),
                Self::Has(place, bits, value) => {
                    let masked = SeccompCmpOp::MaskedEq(bits);
                    (place, SeccompCmpArgLen::Dword, masked, value)
                }
            };
            Ok(vec![SeccompCondition::new(place, length, compare, value)?])
        }
    }

    /// Allowed whatever their arguments are: what is done with descriptors that are there, with memory
    /// and threads of our own, and with time.
    const WHOLE: &[i64] = &[
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_pread64,
        libc::SYS_preadv,
        libc::SYS_pwrite64,
        libc::SYS_pwritev,
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_fallocate,
        libc::SYS_fstat,
        libc::SYS_close,
        libc::SYS_accept4,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_getsockname,
        libc::SYS_getpeername,
        libc::SYS_getsockopt,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_eventfd2,
        libc::SYS_ppoll,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_restart_syscall,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_clock_gettime,
        libc::SYS_clock_getres,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];

    /// What only some kinds of machines have, beside a newer call: mio waits by it.
    #[cfg(target_arch = "x86_64")]
    const OF_THIS_MACHINE: &[i64] = &[libc::SYS_epoll_wait];
    #[cfg(target_arch = "aarch64")]
    const OF_THIS_MACHINE: &[i64] = &[];

    /// A socket that the fake kernel has taken is made to name something else (`nvmf_kmod::fake`).
    #[cfg(all(feature = "fake", target_arch = "x86_64"))]
    const FOR_THE_FAKE: &[i64] = &[libc::SYS_dup2];
    #[cfg(all(feature = "fake", target_arch = "aarch64"))]
    const FOR_THE_FAKE: &[i64] = &[libc::SYS_dup3];
    #[cfg(not(feature = "fake"))]
    const FOR_THE_FAKE: &[i64] = &[];

    /// Its sockets are its own: to send to addresses by, to join groups with, to be ended, and pairs
    /// by which its threads wake each other. It also asks for the machine's name.
    const NETWORK: [i64; 8] = [
        libc::SYS_bind,
        libc::SYS_connect,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_setsockopt,
        libc::SYS_shutdown,
        libc::SYS_socketpair,
        libc::SYS_uname,
    ];

    /// A connection that is made is waited for by it, beside a newer call.
    #[cfg(target_arch = "x86_64")]
    const NETWORK_OF_THIS_MACHINE: &[i64] = &[libc::SYS_poll];
    #[cfg(target_arch = "aarch64")]
    const NETWORK_OF_THIS_MACHINE: &[i64] = &[];

    /// Allowed if an argument is what we use: each line is one way.
    const SOME: [(i64, Argument); 15] = [
        // To who is connected, and to nobody by his address; nor is a connection made by sending, which
        // TCP Fast Open does with a listener that was shut down.
        (libc::SYS_sendto, Argument::Null(4)),
        (libc::SYS_sendmsg, Argument::Has(2, FAST_OPEN, 0)),
        (libc::SYS_shutdown, Argument::Is(1, word(libc::SHUT_WR))),
        // A thread of this process, and no process.
        (libc::SYS_clone, Argument::Has(0, THREAD, THREAD)),
        // Memory in which there is no code.
        (libc::SYS_mmap, Argument::Has(2, EXECUTE, 0)),
        (libc::SYS_mprotect, Argument::Has(2, EXECUTE, 0)),
        (libc::SYS_fcntl, Argument::Is(1, word(libc::F_GETFD))),
        (libc::SYS_fcntl, Argument::Is(1, word(libc::F_SETFD))),
        (libc::SYS_fcntl, Argument::Is(1, word(libc::F_GETFL))),
        (libc::SYS_fcntl, Argument::Is(1, word(libc::F_SETFL))),
        (
            libc::SYS_fcntl,
            Argument::Is(1, word(libc::F_DUPFD_CLOEXEC)),
        ),
        (libc::SYS_ioctl, Argument::Is(1, libc::FIONBIO)),
        (libc::SYS_ioctl, Argument::Is(1, BLKDISCARD)),
        (libc::SYS_ioctl, Argument::Is(1, BLKZEROOUT)),
        // The name of a thread.
        (libc::SYS_prctl, Argument::Is(0, word(libc::PR_SET_NAME))),
    ];

    /// What we set of a socket: how it waits, and when its peer is taken for dead.
    const SOCKET_OPTIONS: [(i32, i32); 7] = [
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
        (libc::SOL_SOCKET, SO_SNDTIMEO_NEW),
        (libc::IPPROTO_TCP, libc::TCP_NODELAY),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    ];

    /// `asm-generic/socket.h`: the same with 64 bits of time.
    const SO_SNDTIMEO_NEW: i32 = 67;

    const FAST_OPEN: u64 = word(libc::MSG_FASTOPEN);

    const THREAD: u64 = word(libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND);

    const EXECUTE: u64 = word(libc::PROT_EXEC);

    #[expect(clippy::cast_sign_loss, reason = "constants, none of them negative")]
    const fn word(value: i32) -> u64 {
        value as u64
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn both_lists_make_a_program_that_kernels_take() {
            for profile in [Profile::Worker, Profile::Announcer] {
                let program = program(profile).unwrap();
                assert!(program.len() < 4096, "{profile:?}");
            }
        }

        #[test]
        fn no_list_has_a_call_that_takes_a_path_or_makes_a_process() {
            let forbidden = [
                libc::SYS_openat,
                libc::SYS_openat2,
                libc::SYS_newfstatat,
                libc::SYS_statx,
                libc::SYS_execve,
                libc::SYS_execveat,
                libc::SYS_clone3,
                libc::SYS_ptrace,
                libc::SYS_process_vm_readv,
                libc::SYS_kill,
                libc::SYS_io_uring_setup,
                libc::SYS_listen,
            ];
            for profile in [Profile::Worker, Profile::Announcer] {
                let rules = rules(profile).unwrap();
                assert!(forbidden.iter().all(|call| !rules.contains_key(call)));
            }
            let worker = rules(Profile::Worker).unwrap();
            let of_sockets = [
                libc::SYS_socket,
                libc::SYS_socketpair,
                libc::SYS_bind,
                libc::SYS_connect,
            ];
            for call in of_sockets {
                assert!(!worker.contains_key(&call));
            }
        }
    }
}
