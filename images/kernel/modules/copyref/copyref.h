/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * copyref: what user space tells the driver.
 */
#ifndef COPYREF_H
#define COPYREF_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* A source range; bytes, whole logical blocks. */
struct copyref_range {
	__u64 start;
	__u64 length;
};

/* The copy is on the medium of the file system below before it succeeds. */
#define COPYREF_DURABLE		0x1

/*
 * Ranges are carried out in their order, and written one behind the other.
 * The first that fails ends the copy; @done is then what the caller has, to
 * the byte, and as durable as asked.  It is 0 where they may not be durable, and
 * with EBUSY where others dirtied the page cache meanwhile, which may be written
 * over the copy.
 */
struct copyref_copy {
	__u64 ranges;		/* in: address of the struct copyref_range */
	__u32 nr_ranges;	/* in */
	__u32 flags;		/* in: COPYREF_DURABLE */
	__u64 to;		/* in: where they go, in bytes */
	__u64 done;		/* out: bytes copied, also after an error */
};

#define COPYREF_COPY		_IOWR(0xc4, 1, struct copyref_copy)

#endif /* COPYREF_H */
