// Made by bindgen.sh: change the headers, not this file.

pub const CTL_DRIVER_NAME_LEN: u32 = 32;
pub const CTL_SN_LEN: u32 = 16;
pub const CTL_DEVID_LEN: u32 = 64;
pub const CTL_PORT_WWNN_VALID: u32 = 1;
pub const CTL_PORT_WWPN_VALID: u32 = 2;
pub const NVMF_MAX_IO_ENTRIES: u32 = 1024;
pub const NVMF_CC_EN_TIMEOUT: u32 = 15;
pub const NVMF_NN: u32 = 1024;
pub const NVME_NQN_FIELD_SIZE: u32 = 256;
pub const NVMF_NQN_MAX_LEN: u32 = 223;
pub const NVMF_CNTLID_DYNAMIC: u32 = 65535;
pub const NVMF_CNTLID_STATIC_ANY: u32 = 65534;
pub const NVMF_CNTLID_STATIC_MAX: u32 = 65519;
pub const NVMF_KATO_DEFAULT: u32 = 120000;
pub const CTL_DEFAULT_DEV: &[u8; 13] = b"/dev/cam/ctl\0";
pub const CTL_MINOR: u32 = 225;
pub const CTL_MAX_INIT_PER_PORT: u32 = 2048;
pub const CTL_ERROR_STR_LEN: u32 = 160;
pub const CTL_BE_NAME_LEN: u32 = 32;
pub const CTL_MAX_ARGS_LEN: u32 = 1048576;
/// No kind: `targ_port` says which port is meant.
pub const CTL_PORT_NONE: ctl_port_type = 0;
/// Fibre Channel.
pub const CTL_PORT_FC: ctl_port_type = 1;
/// Parallel SCSI.
pub const CTL_PORT_SCSI: ctl_port_type = 2;
/// The port that takes SCSI commands by ioctl(2).
pub const CTL_PORT_IOCTL: ctl_port_type = 4;
/// A port inside the kernel.
pub const CTL_PORT_INTERNAL: ctl_port_type = 8;
/// iSCSI.
pub const CTL_PORT_ISCSI: ctl_port_type = 16;
/// Serial Attached SCSI.
pub const CTL_PORT_SAS: ctl_port_type = 32;
/// USB mass storage.
pub const CTL_PORT_UMASS: ctl_port_type = 64;
/// NVMe over Fabrics (nvmft.ko).
pub const CTL_PORT_NVMF: ctl_port_type = 128;
/// Every kind above.
pub const CTL_PORT_ALL: ctl_port_type = 255;
/// The link between two heads of one storage system.
pub const CTL_PORT_ISC: ctl_port_type = 256;
/// Kinds of ports, a bit each; as the argument of a request a mask. FreeBSD `sys/cam/ctl/ctl.h`.
pub type ctl_port_type = ::core::ffi::c_uint;
/// Argument of CTL_ENABLE_PORT and CTL_DISABLE_PORT. FreeBSD `sys/cam/ctl/ctl.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct ctl_port_entry {
    /// CTL_PORT_NONE, or a mask: then *every* port of these kinds is meant.
    pub port_type: ctl_port_type,
    /// Text of the port list; not read by the requests.
    pub port_name: [::core::ffi::c_char; 64usize],
    /// CTL's number of the port.
    pub targ_port: i32,
    /// Number of the hardware's port.
    pub physical_port: ::core::ffi::c_int,
    /// Number of the port within the hardware's.
    pub virtual_port: ::core::ffi::c_int,
    /// CTL_PORT_WWNN_VALID, CTL_PORT_WWPN_VALID.
    pub flags: ::core::ffi::c_uint,
    /// World wide name of the node, in the machine's byte order.
    pub wwnn: u64,
    /// World wide name of the port, in the machine's byte order.
    pub wwpn: u64,
    /// Not 0: the port takes commands.
    pub online: ::core::ffi::c_int,
}
/// A buffer with a packed nvlist. FreeBSD `sys/dev/nvmf/nvmf.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct nvmf_ioc_nv {
    /// The packed nvlist, and room for the one that answers.
    pub data: *mut ::core::ffi::c_void,
    /// Room for the answer in bytes; 0 where none is expected.
    pub len: usize,
    /// Bytes of packed data at `data`.
    pub size: usize,
}
/// A packed list of names and values; opaque here. FreeBSD `sys/nv.h`.
#[repr(C)]
#[derive(Copy, Clone)]
pub struct nvlist {
    _unused: [u8; 0],
}
/// A packed list of names and values; opaque here. FreeBSD `sys/nv.h`.
pub type nvlist_t = nvlist;
/// The kernel has not answered.
pub const CTL_LUN_NOSTATUS: ctl_lun_status = 0;
/// Done.
pub const CTL_LUN_OK: ctl_lun_status = 1;
/// Not done; `error_str` says why.
pub const CTL_LUN_ERROR: ctl_lun_status = 2;
/// Done, but `error_str` has something to say.
pub const CTL_LUN_WARNING: ctl_lun_status = 3;
/// How CTL_LUN_REQ or CTL_PORT_REQ ended. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub type ctl_lun_status = ::core::ffi::c_uint;
/// Make a LUN.
pub const CTL_LUNREQ_CREATE: ctl_lunreq_type = 0;
/// Remove a LUN.
pub const CTL_LUNREQ_RM: ctl_lunreq_type = 1;
/// Change the size or the options of a LUN.
pub const CTL_LUNREQ_MODIFY: ctl_lunreq_type = 2;
/// What CTL_LUN_REQ asks for. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub type ctl_lunreq_type = ::core::ffi::c_uint;
/// `req_lun_id` has the number that the LUN must get.
pub const CTL_LUN_FLAG_ID_REQ: ctl_backend_lun_flags = 1;
/// The LUN begins stopped.
pub const CTL_LUN_FLAG_STOPPED: ctl_backend_lun_flags = 2;
/// The LUN begins without a medium.
pub const CTL_LUN_FLAG_NO_MEDIA: ctl_backend_lun_flags = 4;
/// This head of a pair owns the LUN.
pub const CTL_LUN_FLAG_PRIMARY: ctl_backend_lun_flags = 8;
/// `serial_num` is filled in.
pub const CTL_LUN_FLAG_SERIAL_NUM: ctl_backend_lun_flags = 16;
/// `device_id` is filled in.
pub const CTL_LUN_FLAG_DEVID: ctl_backend_lun_flags = 32;
/// `device_type` is filled in.
pub const CTL_LUN_FLAG_DEV_TYPE: ctl_backend_lun_flags = 64;
/// The LUN can deallocate blocks.
pub const CTL_LUN_FLAG_UNMAP: ctl_backend_lun_flags = 128;
/// The LUN's medium is ejected.
pub const CTL_LUN_FLAG_EJECTED: ctl_backend_lun_flags = 256;
/// The LUN refuses writes.
pub const CTL_LUN_FLAG_READONLY: ctl_backend_lun_flags = 512;
/// Bits of ctl_lun_create_params.flags. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub type ctl_backend_lun_flags = ::core::ffi::c_uint;
/// CTL_LUNREQ_CREATE; what the LUN became is written back. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct ctl_lun_create_params {
    /// CTL_LUN_FLAG_ bits.
    pub flags: ctl_backend_lun_flags,
    /// SCSI's device type; 0 is a disk.
    pub device_type: u8,
    /// Size in bytes; a file or device brings its own.
    pub lun_size_bytes: u64,
    /// Size of a block in bytes; 0 takes the backend's.
    pub blocksize_bytes: u32,
    /// The number that the LUN shall get, and after success that which it has.
    pub req_lun_id: u32,
    /// Serial number, ASCII.
    pub serial_num: [u8; 16usize],
    /// Device id, ASCII.
    pub device_id: [u8; 64usize],
}
/// CTL_LUNREQ_RM. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct ctl_lun_rm_params {
    /// CTL's number of the LUN.
    pub lun_id: u32,
}
/// CTL_LUNREQ_MODIFY. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct ctl_lun_modify_params {
    /// CTL's number of the LUN.
    pub lun_id: u32,
    /// New size in bytes; 0 takes that of the file or device.
    pub lun_size_bytes: u64,
}
/// The part of a LUN request that `reqtype` selects. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub union ctl_lunreq_data {
    /// CTL_LUNREQ_CREATE.
    pub create: ctl_lun_create_params,
    /// CTL_LUNREQ_RM.
    pub rm: ctl_lun_rm_params,
    /// CTL_LUNREQ_MODIFY.
    pub modify: ctl_lun_modify_params,
}
/// Argument of CTL_LUN_REQ. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct ctl_lun_req {
    /// Name of the backend, `block` or `ramdisk`, with its NUL.
    pub backend: [::core::ffi::c_char; 32usize],
    /// CTL_LUNREQ_CREATE, _RM or _MODIFY.
    pub reqtype: ctl_lunreq_type,
    /// What `reqtype` needs; written back.
    pub reqdata: ctl_lunreq_data,
    /// Packed nvlist of options, or NULL for none.
    pub args: *mut ::core::ffi::c_void,
    /// The kernel's; NULL.
    pub args_nvl: *mut nvlist_t,
    /// Bytes at `args`, CTL_MAX_ARGS_LEN at most.
    pub args_len: usize,
    /// Room for the packed nvlist that answers, or NULL.
    pub result: *mut ::core::ffi::c_void,
    /// The kernel's; NULL.
    pub result_nvl: *mut nvlist_t,
    /// Bytes at `result`: those there are, and after success those filled.
    pub result_len: usize,
    /// How it ended; written by the kernel.
    pub status: ctl_lun_status,
    /// Why, as a text with its NUL; written by the kernel.
    pub error_str: [::core::ffi::c_char; 160usize],
}
/// The kernel has not answered.
pub const CTL_LUN_LIST_NONE: ctl_lun_list_status = 0;
/// Done.
pub const CTL_LUN_LIST_OK: ctl_lun_list_status = 1;
/// The buffer is too small; nothing says by how much.
pub const CTL_LUN_LIST_NEED_MORE_SPACE: ctl_lun_list_status = 2;
/// Not done; `error_str` says why.
pub const CTL_LUN_LIST_ERROR: ctl_lun_list_status = 3;
/// How CTL_LUN_LIST or CTL_PORT_LIST ended. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub type ctl_lun_list_status = ::core::ffi::c_uint;
/// Argument of CTL_LUN_LIST and CTL_PORT_LIST. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct ctl_lun_list {
    /// Not read by the kernel.
    pub backend: [::core::ffi::c_char; 32usize],
    /// Bytes at `lun_xml`, 2 to 2^31 - 1.
    pub alloc_len: u32,
    /// Room for the XML text.
    pub lun_xml: *mut ::core::ffi::c_char,
    /// Bytes of the text with its NUL; written by the kernel on success.
    pub fill_len: u32,
    /// How it ended; written by the kernel.
    pub status: ctl_lun_list_status,
    /// Why, as a text with its NUL; written by the kernel.
    pub error_str: [::core::ffi::c_char; 160usize],
}
/// Make a port.
pub const CTL_REQ_CREATE: ctl_req_type = 0;
/// Remove a port.
pub const CTL_REQ_REMOVE: ctl_req_type = 1;
/// Change a port; nvmft.ko refuses it.
pub const CTL_REQ_MODIFY: ctl_req_type = 2;
/// What CTL_PORT_REQ asks for. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub type ctl_req_type = ::core::ffi::c_uint;
/// Argument of CTL_PORT_REQ. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct ctl_req {
    /// Name of the frontend, `nvmf`, with its NUL.
    pub driver: [::core::ffi::c_char; 32usize],
    /// CTL_REQ_CREATE, _REMOVE or _MODIFY.
    pub reqtype: ctl_req_type,
    /// Packed nvlist of options, or NULL for none.
    pub args: *mut ::core::ffi::c_void,
    /// The kernel's; NULL.
    pub args_nvl: *mut nvlist_t,
    /// Bytes at `args`, CTL_MAX_ARGS_LEN at most.
    pub args_len: usize,
    /// Room for the packed nvlist that answers, or NULL.
    pub result: *mut ::core::ffi::c_void,
    /// The kernel's; NULL.
    pub result_nvl: *mut nvlist_t,
    /// Bytes at `result`: those there are, and after success those filled.
    pub result_len: usize,
    /// How it ended; written by the kernel.
    pub status: ctl_lun_status,
    /// Why, as a text with its NUL; written by the kernel.
    pub error_str: [::core::ffi::c_char; 160usize],
}
/// Done; also what a zeroed argument says before the kernel has answered.
pub const CTL_NVMF_OK: ctl_nvmf_status = 0;
/// Not done; `error_str` says why.
pub const CTL_NVMF_ERROR: ctl_nvmf_status = 1;
/// The buffer of a list is too small; nothing says by how much.
pub const CTL_NVMF_LIST_NEED_MORE_SPACE: ctl_nvmf_status = 2;
/// Nothing to terminate.
pub const CTL_NVMF_ASSOCIATION_NOT_FOUND: ctl_nvmf_status = 3;
/// How CTL_NVMF ended. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub type ctl_nvmf_status = ::core::ffi::c_uint;
/// Take over a connected queue.
pub const CTL_NVMF_HANDOFF: ctl_nvmf_type = 0;
/// List the controllers.
pub const CTL_NVMF_LIST: ctl_nvmf_type = 1;
/// End associations.
pub const CTL_NVMF_TERMINATE: ctl_nvmf_type = 2;
/// What CTL_NVMF asks for. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub type ctl_nvmf_type = ::core::ffi::c_uint;
/// CTL_NVMF_LIST. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct ctl_nvmf_list_params {
    /// Bytes at `conn_xml`, 2 to 2^31 - 1.
    pub alloc_len: u32,
    /// Room for the XML text.
    pub conn_xml: *mut ::core::ffi::c_char,
    /// Bytes of the text with its NUL; written by the kernel on success.
    pub fill_len: u32,
    /// Zero.
    pub spare: [::core::ffi::c_int; 4usize],
}
/// CTL_NVMF_TERMINATE; the first that is set selects. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct ctl_nvmf_terminate_params {
    /// Controller id, of any port; -1 does not select by it.
    pub cntlid: ::core::ffi::c_int,
    /// The host's NQN with its NUL; empty does not select by it.
    pub hostnqn: [::core::ffi::c_char; 256usize],
    /// Not 0: all associations of all ports, whatever else is set.
    pub all: ::core::ffi::c_int,
    /// Zero.
    pub spare: [::core::ffi::c_int; 4usize],
}
/// The part of CTL_NVMF's argument that `type` selects. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub union ctl_nvmf_data {
    /// CTL_NVMF_HANDOFF: the packed nvlist of the queue, and no answer.
    pub handoff: nvmf_ioc_nv,
    /// CTL_NVMF_LIST.
    pub list: ctl_nvmf_list_params,
    /// CTL_NVMF_TERMINATE.
    pub terminate: ctl_nvmf_terminate_params,
}
/// Argument of CTL_NVMF. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct ctl_nvmf {
    /// CTL_NVMF_HANDOFF, _LIST or _TERMINATE.
    pub type_: ctl_nvmf_type,
    /// What `type` needs.
    pub data: ctl_nvmf_data,
    /// How it ended; written by the kernel.
    pub status: ctl_nvmf_status,
    /// Why, as a text with its NUL; written by the kernel.
    pub error_str: [::core::ffi::c_char; 160usize],
}
/// Argument of CTL_LUN_MAP. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct ctl_lun_map {
    /// CTL's number of the port.
    pub port: u32,
    /// The LUN's number at that port, NSID - 1; ffffffff is the map as a whole.
    pub plun: u32,
    /// CTL's number of the LUN; ffffffff removes.
    pub lun: u32,
}
/// No data.
pub const CTL_STATS_NO_IO: ctl_stat_types = 0;
/// To hosts.
pub const CTL_STATS_READ: ctl_stat_types = 1;
/// From hosts.
pub const CTL_STATS_WRITE: ctl_stat_types = 2;
/// Where commands are counted: how their data went. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub type ctl_stat_types = ::core::ffi::c_uint;
/// Done; also what a zeroed argument says before the kernel has answered.
pub const CTL_SS_OK: ctl_stats_status = 0;
/// The buffer is too small; what fits is there, and `num_items` says how many there are.
pub const CTL_SS_NEED_MORE_SPACE: ctl_stats_status = 1;
/// Not done.
pub const CTL_SS_ERROR: ctl_stats_status = 2;
/// How CTL_GET_LUN_STATS or CTL_GET_PORT_STATS ended. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub type ctl_stats_status = ::core::ffi::c_uint;
/// Nothing to say.
pub const CTL_STATS_FLAG_NONE: ctl_stats_flags = 0;
/// The kernel measures times: `time` and `dma_time` are filled in.
pub const CTL_STATS_FLAG_TIME_VALID: ctl_stats_flags = 1;
/// Bits of ctl_get_io_stats.flags. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub type ctl_stats_flags = ::core::ffi::c_uint;
/// Seconds, and parts of a second in units of 2^-64. FreeBSD `sys/sys/time.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct bintime {
    /// Seconds.
    pub sec: ::core::ffi::c_long,
    /// What is left, in units of 2^-64 seconds.
    pub frac: u64,
}
/// Seconds and nanoseconds. FreeBSD `sys/sys/_timespec.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct timespec {
    /// Seconds.
    pub tv_sec: ::core::ffi::c_long,
    /// What is left, in nanoseconds.
    pub tv_nsec: ::core::ffi::c_long,
}
/// What one LUN or port did since it was made, by CTL_STATS_ kinds. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct ctl_io_stats {
    /// CTL's number of the LUN or port.
    pub item: u32,
    /// Bytes of data.
    pub bytes: [u64; 3usize],
    /// Commands that succeeded.
    pub operations: [u64; 3usize],
    /// Pieces in which the data was moved.
    pub dmas: [u64; 3usize],
    /// How long the commands took, all together.
    pub time: [bintime; 3usize],
    /// How long the moving of their data took, all together.
    pub dma_time: [bintime; 3usize],
}
/// Argument of CTL_GET_LUN_STATS and CTL_GET_PORT_STATS. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
#[repr(C)]
#[derive(Copy, Clone, ::zerocopy::FromZeros)]
pub struct ctl_get_io_stats {
    /// Room for the counters; those of LUNs or ports that do not exist are left out.
    pub stats: *mut ctl_io_stats,
    /// Bytes at `stats`.
    pub alloc_len: usize,
    /// Bytes that are filled; written by the kernel.
    pub fill_len: usize,
    /// LUNs or ports with smaller numbers are left out.
    pub first_item: ::core::ffi::c_int,
    /// How many LUNs or ports there are, whatever their numbers; written by the kernel.
    pub num_items: ::core::ffi::c_int,
    /// How it ended; written by the kernel.
    pub status: ctl_stats_status,
    /// CTL_STATS_FLAG_ bits; written by the kernel.
    pub flags: ctl_stats_flags,
    /// When, since the system came up; written by the kernel.
    pub timestamp: timespec,
}
