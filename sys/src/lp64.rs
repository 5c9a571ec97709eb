// The kernel's layout where pointers have 64 bits (FreeBSD 15.0, amd64, arm64 and riscv64), found by
// compiling FreeBSD's declarations for FreeBSD, and the constants: sizes and offsets in bytes. What
// `table!` does with it is for the includer to say (layout.rs, tests/headers.rs).

table! {
    struct ctl_port_entry: 112 {
        port_type: 0,
        port_name: 4,
        targ_port: 68,
        physical_port: 72,
        virtual_port: 76,
        flags: 80,
        wwnn: 88,
        wwpn: 96,
        online: 104,
    }
    struct ctl_lun_create_params: 104 {
        flags: 0,
        device_type: 4,
        lun_size_bytes: 8,
        blocksize_bytes: 16,
        req_lun_id: 20,
        serial_num: 24,
        device_id: 40,
    }
    struct ctl_lun_rm_params: 4 {
        lun_id: 0,
    }
    struct ctl_lun_modify_params: 16 {
        lun_id: 0,
        lun_size_bytes: 8,
    }
    struct ctl_lun_req: 360 {
        backend: 0,
        reqtype: 32,
        reqdata: 40,
        args: 144,
        args_nvl: 152,
        args_len: 160,
        result: 168,
        result_nvl: 176,
        result_len: 184,
        status: 192,
        error_str: 196,
    }
    struct ctl_lun_list: 216 {
        backend: 0,
        alloc_len: 32,
        lun_xml: 40,
        fill_len: 48,
        status: 52,
        error_str: 56,
    }
    struct ctl_req: 256 {
        driver: 0,
        reqtype: 32,
        args: 40,
        args_nvl: 48,
        args_len: 56,
        result: 64,
        result_nvl: 72,
        result_len: 80,
        status: 88,
        error_str: 92,
    }
    struct ctl_lun_map: 12 {
        port: 0,
        plun: 4,
        lun: 8,
    }
    struct bintime: 16 {
        sec: 0,
        frac: 8,
    }
    struct timespec: 16 {
        tv_sec: 0,
        tv_nsec: 8,
    }
    struct ctl_io_stats: 176 {
        item: 0,
        bytes: 8,
        operations: 32,
        dmas: 56,
        time: 80,
        dma_time: 128,
    }
    struct ctl_get_io_stats: 56 {
        stats: 0,
        alloc_len: 8,
        fill_len: 16,
        first_item: 24,
        num_items: 28,
        status: 32,
        flags: 36,
        timestamp: 40,
    }
    struct nvmf_ioc_nv: 24 {
        data: 0,
        len: 8,
        size: 16,
    }
    struct ctl_nvmf_list_params: 40 {
        alloc_len: 0,
        conn_xml: 8,
        fill_len: 16,
        spare: 20,
    }
    struct ctl_nvmf_terminate_params: 280 {
        cntlid: 0,
        hostnqn: 4,
        all: 260,
        spare: 264,
    }
    struct ctl_nvmf: 456 {
        type_: 0,
        data: 8,
        status: 288,
        error_str: 292,
    }

    union ctl_lunreq_data: 104 { create, rm, modify }
    union ctl_nvmf_data: 280 { handoff, list, terminate }

    request CTL_ENABLE_PORT = 0x8070_e104;
    request CTL_DISABLE_PORT = 0x8070_e105;
    request CTL_LUN_REQ = 0xc168_e121;
    request CTL_LUN_LIST = 0xc0d8_e122;
    request CTL_PORT_REQ = 0xc100_e126;
    request CTL_PORT_LIST = 0xc0d8_e127;
    request CTL_LUN_MAP = 0x800c_e128;
    request CTL_GET_LUN_STATS = 0xc038_e129;
    request CTL_GET_PORT_STATS = 0xc038_e12a;
    request CTL_NVMF = 0xc1c8_e12b;

    const CTL_MINOR = 0xe1;
    const CTL_MAX_INIT_PER_PORT = 2048;
    const CTL_MAX_ARGS_LEN = 1_048_576;
    const CTL_ERROR_STR_LEN = 160;
    const CTL_BE_NAME_LEN = 32;
    const CTL_DRIVER_NAME_LEN = 32;
    const CTL_SN_LEN = 16;
    const CTL_DEVID_LEN = 64;

    const CTL_PORT_NONE = 0;
    const CTL_PORT_FC = 1;
    const CTL_PORT_SCSI = 2;
    const CTL_PORT_IOCTL = 4;
    const CTL_PORT_INTERNAL = 8;
    const CTL_PORT_ISCSI = 0x10;
    const CTL_PORT_SAS = 0x20;
    const CTL_PORT_UMASS = 0x40;
    const CTL_PORT_NVMF = 0x80;
    const CTL_PORT_ALL = 0xff;
    const CTL_PORT_ISC = 0x100;
    const CTL_PORT_WWNN_VALID = 1;
    const CTL_PORT_WWPN_VALID = 2;

    const CTL_LUN_NOSTATUS = 0;
    const CTL_LUN_OK = 1;
    const CTL_LUN_ERROR = 2;
    const CTL_LUN_WARNING = 3;

    const CTL_LUNREQ_CREATE = 0;
    const CTL_LUNREQ_RM = 1;
    const CTL_LUNREQ_MODIFY = 2;

    const CTL_LUN_FLAG_ID_REQ = 1;
    const CTL_LUN_FLAG_STOPPED = 2;
    const CTL_LUN_FLAG_NO_MEDIA = 4;
    const CTL_LUN_FLAG_PRIMARY = 8;
    const CTL_LUN_FLAG_SERIAL_NUM = 0x10;
    const CTL_LUN_FLAG_DEVID = 0x20;
    const CTL_LUN_FLAG_DEV_TYPE = 0x40;
    const CTL_LUN_FLAG_UNMAP = 0x80;
    const CTL_LUN_FLAG_EJECTED = 0x100;
    const CTL_LUN_FLAG_READONLY = 0x200;

    const CTL_LUN_LIST_NONE = 0;
    const CTL_LUN_LIST_OK = 1;
    const CTL_LUN_LIST_NEED_MORE_SPACE = 2;
    const CTL_LUN_LIST_ERROR = 3;

    const CTL_REQ_CREATE = 0;
    const CTL_REQ_REMOVE = 1;
    const CTL_REQ_MODIFY = 2;

    const CTL_STATS_NO_IO = 0;
    const CTL_STATS_READ = 1;
    const CTL_STATS_WRITE = 2;

    const CTL_SS_OK = 0;
    const CTL_SS_NEED_MORE_SPACE = 1;
    const CTL_SS_ERROR = 2;

    const CTL_STATS_FLAG_NONE = 0;
    const CTL_STATS_FLAG_TIME_VALID = 1;

    const CTL_NVMF_OK = 0;
    const CTL_NVMF_ERROR = 1;
    const CTL_NVMF_LIST_NEED_MORE_SPACE = 2;
    const CTL_NVMF_ASSOCIATION_NOT_FOUND = 3;

    const CTL_NVMF_HANDOFF = 0;
    const CTL_NVMF_LIST = 1;
    const CTL_NVMF_TERMINATE = 2;

    const NVMF_MAX_IO_ENTRIES = 1024;
    const NVMF_CC_EN_TIMEOUT = 15;
    const NVMF_NN = 1024;
    const NVME_NQN_FIELD_SIZE = 256;
    const NVMF_NQN_MAX_LEN = 223;
    const NVMF_CNTLID_DYNAMIC = 0xffff;
    const NVMF_CNTLID_STATIC_ANY = 0xfffe;
    const NVMF_CNTLID_STATIC_MAX = 0xffef;
    const NVMF_KATO_DEFAULT = 120_000;
}
