/*
 * What bindgen reads with the feature `bindgen`: FreeBSD's declarations, after what
 * they need and do not include.
 */

#include <sys/param.h>
#include <sys/nv.h>
#include <sys/queue.h>
#include <sys/time.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cam/scsi/scsi_all.h>
#include <cam/ctl/ctl.h>
#include <cam/ctl/ctl_io.h>
#include <cam/ctl/ctl_ioctl.h>

#include <dev/nvmf/nvmf.h>
#include <dev/nvmf/nvmf_proto.h>
