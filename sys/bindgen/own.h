/*
 * What bindgen reads for the bindings that are committed: our declarations. The few
 * types that they need are those of <stddef.h> and <stdint.h>; bindgen knows them by
 * name, so that the result is right on every host and libclang is all it takes.
 */

typedef __SIZE_TYPE__ size_t;
typedef __UINT8_TYPE__ uint8_t;
typedef __INT32_TYPE__ int32_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __UINT64_TYPE__ uint64_t;

#include <cam/ctl/ctl_ioctl.h>
