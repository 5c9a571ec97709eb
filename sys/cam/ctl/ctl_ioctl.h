/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026, the nvmfd authors
 *
 * The requests that a userland daemon sends to FreeBSD's CAM Target Layer by
 * ioctl(2). Declares the names of FreeBSD's header of the same path that this
 * project uses; the words are ours, the layout is FreeBSD's since 15.0. Numbers are
 * in the machine's byte order. Include <stddef.h> and <stdint.h> first, and
 * <sys/ioccom.h> to use the request codes.
 */

#ifndef NVMFD_CAM_CTL_CTL_IOCTL_H
#define NVMFD_CAM_CTL_CTL_IOCTL_H

#include <cam/ctl/ctl.h>
#include <dev/nvmf/nvmf.h>

#define CTL_DEFAULT_DEV "/dev/cam/ctl"

/* The group in the request codes. */
#define CTL_MINOR 225

#define CTL_MAX_INIT_PER_PORT 2048

/* Bytes of texts, each with its NUL. */
#define CTL_ERROR_STR_LEN 160
#define CTL_BE_NAME_LEN 32

/* Bytes of packed options that a request may bring. */
#define CTL_MAX_ARGS_LEN (1024 * 1024)

/** A packed list of names and values; opaque here. FreeBSD `sys/nv.h`. */
struct nvlist;
/** A packed list of names and values; opaque here. FreeBSD `sys/nv.h`. */
typedef struct nvlist nvlist_t;

/** How CTL_LUN_REQ or CTL_PORT_REQ ended. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
typedef enum {
	/** The kernel has not answered. */
	CTL_LUN_NOSTATUS = 0,
	/** Done. */
	CTL_LUN_OK = 1,
	/** Not done; `error_str` says why. */
	CTL_LUN_ERROR = 2,
	/** Done, but `error_str` has something to say. */
	CTL_LUN_WARNING = 3
} ctl_lun_status;

/** What CTL_LUN_REQ asks for. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
typedef enum {
	/** Make a LUN. */
	CTL_LUNREQ_CREATE = 0,
	/** Remove a LUN. */
	CTL_LUNREQ_RM = 1,
	/** Change the size or the options of a LUN. */
	CTL_LUNREQ_MODIFY = 2
} ctl_lunreq_type;

/** Bits of ctl_lun_create_params.flags. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
typedef enum {
	/** `req_lun_id` has the number that the LUN must get. */
	CTL_LUN_FLAG_ID_REQ = 0x01,
	/** The LUN begins stopped. */
	CTL_LUN_FLAG_STOPPED = 0x02,
	/** The LUN begins without a medium. */
	CTL_LUN_FLAG_NO_MEDIA = 0x04,
	/** This head of a pair owns the LUN. */
	CTL_LUN_FLAG_PRIMARY = 0x08,
	/** `serial_num` is filled in. */
	CTL_LUN_FLAG_SERIAL_NUM = 0x10,
	/** `device_id` is filled in. */
	CTL_LUN_FLAG_DEVID = 0x20,
	/** `device_type` is filled in. */
	CTL_LUN_FLAG_DEV_TYPE = 0x40,
	/** The LUN can deallocate blocks. */
	CTL_LUN_FLAG_UNMAP = 0x80,
	/** The LUN's medium is ejected. */
	CTL_LUN_FLAG_EJECTED = 0x100,
	/** The LUN refuses writes. */
	CTL_LUN_FLAG_READONLY = 0x200
} ctl_backend_lun_flags;

/** CTL_LUNREQ_CREATE; what the LUN became is written back. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
struct ctl_lun_create_params {
	/** CTL_LUN_FLAG_ bits. */
	ctl_backend_lun_flags flags;
	/** SCSI's device type; 0 is a disk. */
	uint8_t device_type;
	/** Size in bytes; a file or device brings its own. */
	uint64_t lun_size_bytes;
	/** Size of a block in bytes; 0 takes the backend's. */
	uint32_t blocksize_bytes;
	/** The number that the LUN shall get, and after success that which it has. */
	uint32_t req_lun_id;
	/** Serial number, ASCII. */
	uint8_t serial_num[CTL_SN_LEN];
	/** Device id, ASCII. */
	uint8_t device_id[CTL_DEVID_LEN];
};

/** CTL_LUNREQ_RM. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
struct ctl_lun_rm_params {
	/** CTL's number of the LUN. */
	uint32_t lun_id;
};

/** CTL_LUNREQ_MODIFY. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
struct ctl_lun_modify_params {
	/** CTL's number of the LUN. */
	uint32_t lun_id;
	/** New size in bytes; 0 takes that of the file or device. */
	uint64_t lun_size_bytes;
};

/** The part of a LUN request that `reqtype` selects. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
union ctl_lunreq_data {
	/** CTL_LUNREQ_CREATE. */
	struct ctl_lun_create_params create;
	/** CTL_LUNREQ_RM. */
	struct ctl_lun_rm_params rm;
	/** CTL_LUNREQ_MODIFY. */
	struct ctl_lun_modify_params modify;
};

/** Argument of CTL_LUN_REQ. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
struct ctl_lun_req {
	/** Name of the backend, `block` or `ramdisk`, with its NUL. */
	char backend[CTL_BE_NAME_LEN];
	/** CTL_LUNREQ_CREATE, _RM or _MODIFY. */
	ctl_lunreq_type reqtype;
	/** What `reqtype` needs; written back. */
	union ctl_lunreq_data reqdata;
	/** Packed nvlist of options, or NULL for none. */
	void *args;
	/** The kernel's; NULL. */
	nvlist_t *args_nvl;
	/** Bytes at `args`, CTL_MAX_ARGS_LEN at most. */
	size_t args_len;
	/** Room for the packed nvlist that answers, or NULL. */
	void *result;
	/** The kernel's; NULL. */
	nvlist_t *result_nvl;
	/** Bytes at `result`: those there are, and after success those filled. */
	size_t result_len;
	/** How it ended; written by the kernel. */
	ctl_lun_status status;
	/** Why, as a text with its NUL; written by the kernel. */
	char error_str[CTL_ERROR_STR_LEN];
};

/** How CTL_LUN_LIST or CTL_PORT_LIST ended. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
typedef enum {
	/** The kernel has not answered. */
	CTL_LUN_LIST_NONE = 0,
	/** Done. */
	CTL_LUN_LIST_OK = 1,
	/** The buffer is too small; nothing says by how much. */
	CTL_LUN_LIST_NEED_MORE_SPACE = 2,
	/** Not done; `error_str` says why. */
	CTL_LUN_LIST_ERROR = 3
} ctl_lun_list_status;

/** Argument of CTL_LUN_LIST and CTL_PORT_LIST. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
struct ctl_lun_list {
	/** Not read by the kernel. */
	char backend[CTL_BE_NAME_LEN];
	/** Bytes at `lun_xml`, 2 to 2^31 - 1. */
	uint32_t alloc_len;
	/** Room for the XML text. */
	char *lun_xml;
	/** Bytes of the text with its NUL; written by the kernel on success. */
	uint32_t fill_len;
	/** How it ended; written by the kernel. */
	ctl_lun_list_status status;
	/** Why, as a text with its NUL; written by the kernel. */
	char error_str[CTL_ERROR_STR_LEN];
};

/** What CTL_PORT_REQ asks for. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
typedef enum {
	/** Make a port. */
	CTL_REQ_CREATE = 0,
	/** Remove a port. */
	CTL_REQ_REMOVE = 1,
	/** Change a port; nvmft.ko refuses it. */
	CTL_REQ_MODIFY = 2
} ctl_req_type;

/** Argument of CTL_PORT_REQ. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
struct ctl_req {
	/** Name of the frontend, `nvmf`, with its NUL. */
	char driver[CTL_DRIVER_NAME_LEN];
	/** CTL_REQ_CREATE, _REMOVE or _MODIFY. */
	ctl_req_type reqtype;
	/** Packed nvlist of options, or NULL for none. */
	void *args;
	/** The kernel's; NULL. */
	nvlist_t *args_nvl;
	/** Bytes at `args`, CTL_MAX_ARGS_LEN at most. */
	size_t args_len;
	/** Room for the packed nvlist that answers, or NULL. */
	void *result;
	/** The kernel's; NULL. */
	nvlist_t *result_nvl;
	/** Bytes at `result`: those there are, and after success those filled. */
	size_t result_len;
	/** How it ended; written by the kernel. */
	ctl_lun_status status;
	/** Why, as a text with its NUL; written by the kernel. */
	char error_str[CTL_ERROR_STR_LEN];
};

/** How CTL_NVMF ended. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
typedef enum {
	/** Done; also what a zeroed argument says before the kernel has answered. */
	CTL_NVMF_OK = 0,
	/** Not done; `error_str` says why. */
	CTL_NVMF_ERROR = 1,
	/** The buffer of a list is too small; nothing says by how much. */
	CTL_NVMF_LIST_NEED_MORE_SPACE = 2,
	/** Nothing to terminate. */
	CTL_NVMF_ASSOCIATION_NOT_FOUND = 3
} ctl_nvmf_status;

/** What CTL_NVMF asks for. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
typedef enum {
	/** Take over a connected queue. */
	CTL_NVMF_HANDOFF = 0,
	/** List the controllers. */
	CTL_NVMF_LIST = 1,
	/** End associations. */
	CTL_NVMF_TERMINATE = 2
} ctl_nvmf_type;

/** CTL_NVMF_LIST. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
struct ctl_nvmf_list_params {
	/** Bytes at `conn_xml`, 2 to 2^31 - 1. */
	uint32_t alloc_len;
	/** Room for the XML text. */
	char *conn_xml;
	/** Bytes of the text with its NUL; written by the kernel on success. */
	uint32_t fill_len;
	/** Zero. */
	int spare[4];
};

/** CTL_NVMF_TERMINATE; the first that is set selects. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
struct ctl_nvmf_terminate_params {
	/** Controller id, of any port; -1 does not select by it. */
	int cntlid;
	/** The host's NQN with its NUL; empty does not select by it. */
	char hostnqn[NVME_NQN_FIELD_SIZE];
	/** Not 0: all associations of all ports, whatever else is set. */
	int all;
	/** Zero. */
	int spare[4];
};

/** The part of CTL_NVMF's argument that `type` selects. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
union ctl_nvmf_data {
	/** CTL_NVMF_HANDOFF: the packed nvlist of the queue, and no answer. */
	struct nvmf_ioc_nv handoff;
	/** CTL_NVMF_LIST. */
	struct ctl_nvmf_list_params list;
	/** CTL_NVMF_TERMINATE. */
	struct ctl_nvmf_terminate_params terminate;
};

/** Argument of CTL_NVMF. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
struct ctl_nvmf {
	/** CTL_NVMF_HANDOFF, _LIST or _TERMINATE. */
	ctl_nvmf_type type;
	/** What `type` needs. */
	union ctl_nvmf_data data;
	/** How it ended; written by the kernel. */
	ctl_nvmf_status status;
	/** Why, as a text with its NUL; written by the kernel. */
	char error_str[CTL_ERROR_STR_LEN];
};

/** Argument of CTL_LUN_MAP. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
struct ctl_lun_map {
	/** CTL's number of the port. */
	uint32_t port;
	/** The LUN's number at that port, NSID - 1; ffffffff is the map as a whole. */
	uint32_t plun;
	/** CTL's number of the LUN; ffffffff removes. */
	uint32_t lun;
};

/** Where commands are counted: how their data went. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
typedef enum {
	/** No data. */
	CTL_STATS_NO_IO = 0,
	/** To hosts. */
	CTL_STATS_READ = 1,
	/** From hosts. */
	CTL_STATS_WRITE = 2
} ctl_stat_types;

/* Kinds of commands that are counted apart: the length of the arrays below. */
#define CTL_STATS_NUM_TYPES 3

/** How CTL_GET_LUN_STATS or CTL_GET_PORT_STATS ended. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
typedef enum {
	/** Done; also what a zeroed argument says before the kernel has answered. */
	CTL_SS_OK = 0,
	/** The buffer is too small; what fits is there, and `num_items` says how many there are. */
	CTL_SS_NEED_MORE_SPACE = 1,
	/** Not done. */
	CTL_SS_ERROR = 2
} ctl_stats_status;

/** Bits of ctl_get_io_stats.flags. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
typedef enum {
	/** Nothing to say. */
	CTL_STATS_FLAG_NONE = 0,
	/** The kernel measures times: `time` and `dma_time` are filled in. */
	CTL_STATS_FLAG_TIME_VALID = 1
} ctl_stats_flags;

/*
 * FreeBSD's time_t is as wide as a long, but on 32-bit CPUs other than i386. Whoever
 * includes this header must not include <time.h> as well.
 */

/** Seconds, and parts of a second in units of 2^-64. FreeBSD `sys/sys/time.h`. */
struct bintime {
	/** Seconds. */
	long sec;
	/** What is left, in units of 2^-64 seconds. */
	uint64_t frac;
};

/** Seconds and nanoseconds. FreeBSD `sys/sys/_timespec.h`. */
struct timespec {
	/** Seconds. */
	long tv_sec;
	/** What is left, in nanoseconds. */
	long tv_nsec;
};

/** What one LUN or port did since it was made, by CTL_STATS_ kinds. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
struct ctl_io_stats {
	/** CTL's number of the LUN or port. */
	uint32_t item;
	/** Bytes of data. */
	uint64_t bytes[CTL_STATS_NUM_TYPES];
	/** Commands that succeeded. */
	uint64_t operations[CTL_STATS_NUM_TYPES];
	/** Pieces in which the data was moved. */
	uint64_t dmas[CTL_STATS_NUM_TYPES];
	/** How long the commands took, all together. */
	struct bintime time[CTL_STATS_NUM_TYPES];
	/** How long the moving of their data took, all together. */
	struct bintime dma_time[CTL_STATS_NUM_TYPES];
};

/** Argument of CTL_GET_LUN_STATS and CTL_GET_PORT_STATS. FreeBSD `sys/cam/ctl/ctl_ioctl.h`. */
struct ctl_get_io_stats {
	/** Room for the counters; those of LUNs or ports that do not exist are left out. */
	struct ctl_io_stats *stats;
	/** Bytes at `stats`. */
	size_t alloc_len;
	/** Bytes that are filled; written by the kernel. */
	size_t fill_len;
	/** LUNs or ports with smaller numbers are left out. */
	int first_item;
	/** How many LUNs or ports there are, whatever their numbers; written by the kernel. */
	int num_items;
	/** How it ended; written by the kernel. */
	ctl_stats_status status;
	/** CTL_STATS_FLAG_ bits; written by the kernel. */
	ctl_stats_flags flags;
	/** When, since the system came up; written by the kernel. */
	struct timespec timestamp;
};

#define CTL_ENABLE_PORT _IOW(CTL_MINOR, 0x04, struct ctl_port_entry)
#define CTL_DISABLE_PORT _IOW(CTL_MINOR, 0x05, struct ctl_port_entry)
#define CTL_LUN_REQ _IOWR(CTL_MINOR, 0x21, struct ctl_lun_req)
#define CTL_LUN_LIST _IOWR(CTL_MINOR, 0x22, struct ctl_lun_list)
#define CTL_PORT_REQ _IOWR(CTL_MINOR, 0x26, struct ctl_req)
#define CTL_PORT_LIST _IOWR(CTL_MINOR, 0x27, struct ctl_lun_list)
#define CTL_LUN_MAP _IOW(CTL_MINOR, 0x28, struct ctl_lun_map)
#define CTL_GET_LUN_STATS _IOWR(CTL_MINOR, 0x29, struct ctl_get_io_stats)
#define CTL_GET_PORT_STATS _IOWR(CTL_MINOR, 0x2a, struct ctl_get_io_stats)
#define CTL_NVMF _IOWR(CTL_MINOR, 0x2b, struct ctl_nvmf)

#endif
