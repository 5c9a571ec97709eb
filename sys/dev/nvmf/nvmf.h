/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026, the nvmfd authors
 *
 * What FreeBSD's NVMe over Fabrics code and userland pass each other. Declares the
 * names of FreeBSD's headers <dev/nvmf/nvmf.h> and <dev/nvmf/nvmf_proto.h> that this
 * project uses; the words are ours, the numbers FreeBSD's. Include <stddef.h> first.
 */

#ifndef NVMFD_DEV_NVMF_NVMF_H
#define NVMFD_DEV_NVMF_NVMF_H

/* What nvmft.ko assumes of a port that is created without these options. */
#define NVMF_MAX_IO_ENTRIES 1024
#define NVMF_CC_EN_TIMEOUT 15
#define NVMF_NN 1024

/* The following are from <dev/nvmf/nvmf_proto.h>. */
#define NVME_NQN_FIELD_SIZE 256
#define NVMF_NQN_MAX_LEN 223
#define NVMF_CNTLID_DYNAMIC 0xffff
#define NVMF_CNTLID_STATIC_ANY 0xfffe
#define NVMF_CNTLID_STATIC_MAX 0xffef
#define NVMF_KATO_DEFAULT 120000

/** A buffer with a packed nvlist. FreeBSD `sys/dev/nvmf/nvmf.h`. */
struct nvmf_ioc_nv {
	/** The packed nvlist, and room for the one that answers. */
	void *data;
	/** Room for the answer in bytes; 0 where none is expected. */
	size_t len;
	/** Bytes of packed data at `data`. */
	size_t size;
};

#endif
