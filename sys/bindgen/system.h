/*
 * FreeBSD's declarations, after what they need and do not include. What bindgen reads
 * with the feature `bindgen`, and the test of FreeBSD's headers.
 */

#include <sys/param.h>
#include <sys/nv.h>
#include <sys/queue.h>
#include <sys/time.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dev/nvme/nvme.h>
#include <dev/nvmf/nvmf.h>
#include <dev/nvmf/nvmf_proto.h>

#include <cam/scsi/scsi_all.h>
#include <cam/ctl/ctl.h>
#include <cam/ctl/ctl_io.h>
#include <cam/ctl/ctl_ioctl.h>
