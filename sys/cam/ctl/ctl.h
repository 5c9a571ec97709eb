/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026, the nvmfd authors
 *
 * What a port of CTL is to userland. Declares the names of FreeBSD's header of the
 * same path that this project uses, so that <cam/ctl/ctl_ioctl.h> is understood on
 * any host; the words are ours, the layout is FreeBSD's. Include <stddef.h> and
 * <stdint.h> first.
 */

#ifndef NVMFD_CAM_CTL_CTL_H
#define NVMFD_CAM_CTL_CTL_H

/* Bytes of a name, a serial number, a device id; the texts among them end in a NUL. */
#define CTL_DRIVER_NAME_LEN 32
#define CTL_SN_LEN 16
#define CTL_DEVID_LEN 64

/* Bits of ctl_port_entry.flags. */
#define CTL_PORT_WWNN_VALID 0x01
#define CTL_PORT_WWPN_VALID 0x02

/** Kinds of ports, a bit each; as the argument of a request a mask. FreeBSD `sys/cam/ctl/ctl.h`. */
typedef enum {
	/** No kind: `targ_port` says which port is meant. */
	CTL_PORT_NONE = 0x00,
	/** Fibre Channel. */
	CTL_PORT_FC = 0x01,
	/** Parallel SCSI. */
	CTL_PORT_SCSI = 0x02,
	/** The port that takes SCSI commands by ioctl(2). */
	CTL_PORT_IOCTL = 0x04,
	/** A port inside the kernel. */
	CTL_PORT_INTERNAL = 0x08,
	/** iSCSI. */
	CTL_PORT_ISCSI = 0x10,
	/** Serial Attached SCSI. */
	CTL_PORT_SAS = 0x20,
	/** USB mass storage. */
	CTL_PORT_UMASS = 0x40,
	/** NVMe over Fabrics (nvmft.ko). */
	CTL_PORT_NVMF = 0x80,
	/** Every kind above. */
	CTL_PORT_ALL = 0xff,
	/** The link between two heads of one storage system. */
	CTL_PORT_ISC = 0x100
} ctl_port_type;

/** Argument of CTL_ENABLE_PORT and CTL_DISABLE_PORT. FreeBSD `sys/cam/ctl/ctl.h`. */
struct ctl_port_entry {
	/** CTL_PORT_NONE, or a mask: then *every* port of these kinds is meant. */
	ctl_port_type port_type;
	/** Text of the port list; not read by the requests. */
	char port_name[64];
	/** CTL's number of the port. */
	int32_t targ_port;
	/** Number of the hardware's port. */
	int physical_port;
	/** Number of the port within the hardware's. */
	int virtual_port;
	/** CTL_PORT_WWNN_VALID, CTL_PORT_WWPN_VALID. */
	unsigned int flags;
	/** World wide name of the node, in the machine's byte order. */
	uint64_t wwnn;
	/** World wide name of the port, in the machine's byte order. */
	uint64_t wwpn;
	/** Not 0: the port takes commands. */
	int online;
};

#endif
