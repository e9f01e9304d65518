/* SPDX-License-Identifier: GPL-2.0 */
/*
 * copyref: what the disk and its faults have in common.
 */
#ifndef COPYREF_INTERNAL_H
#define COPYREF_INTERNAL_H

#include <linux/blk-mq.h>
#include <linux/fs.h>
#include <linux/uio.h>

#include "copyref.h"

#define COPYREF_NAME		20
#define COPYREF_SECTORS		(UINT_MAX >> SECTOR_SHIFT)

enum fault_kind {
	FAULT_NONE,
	/* Failures, honestly reported: */
	FAULT_FAIL,		/* with errno ARGUMENT */
	FAULT_SHORT,		/* after half of the range */
	/* Wrong data: */
	FAULT_DROP,		/* none, and a success */
	FAULT_HALF,		/* half of the range, and a success */
	FAULT_ZERO,		/* zeroes */
	FAULT_WRONG,		/* from a block behind the source */
	FAULT_TORN,		/* half a sector */
	FAULT_SHIFT,		/* a block behind their place */
	FAULT_SPILL,		/* a block too many */
	FAULT_MOVE,		/* gone from the source */
	/* Wrong words: */
	FAULT_OVERSTATE,	/* fails, and is counted as done */
	FAULT_SWALLOW,		/* an error from below is a success */
	FAULT_RENAME,		/* an error from below is errno ARGUMENT */
	FAULT_UNSYNCED,		/* what is durable is not */
	/* Wrong ways: */
	FAULT_EMULATE,		/* read and written */
	FAULT_LATE,		/* ARGUMENT milliseconds late */
	FAULT_WARN,		/* the kernel complains */
	FAULT_STUCK,		/* all copies but the first fail */
	FAULT_STALE_SOURCE,	/* the page cache is not written back before */
	FAULT_STALE_TARGET,	/* the page cache is not dropped afterwards */
	FAULT_UNLIMITED,	/* copies above the limits are carried out */
	FAULT_STRICT,		/* copies at a limit are refused */
};

struct copyref_fault {
	enum fault_kind kind;
	unsigned int range;
	unsigned int arg;
};

/* 0 in any of them: there are no copies. */
struct copyref_limits {
	unsigned int ranges;
	u64 range_bytes;
	u64 copy_bytes;
};

/* A copy on its way. */
struct copyref_op {
	struct copyref_range *ranges;
	unsigned int nr_ranges;
	bool durable;
	u64 to;
	u64 length;
	u64 done;
	int error;
};

struct copyref {
	struct list_head list;
	char name[COPYREF_NAME + 1];
	struct file *medium;
	struct gendisk *disk;
	struct blk_mq_tag_set tags;
	struct workqueue_struct *wq;
	unsigned int block_size;
	spinlock_t lock;		/* of limits and fault */
	struct copyref_limits limits;
	struct copyref_fault fault;
	bool stuck;			/* FAULT_STUCK has let a copy through */
};

static inline struct copyref *to_copyref(struct device *dev)
{
	return dev_to_disk(dev)->private_data;
}

/* disk.c */
int copyref_rw(struct copyref *ref, struct iov_iter *iter, loff_t at);
int copyref_zero(struct copyref *ref, int mode, loff_t at, loff_t size);
int copyref_range(struct copyref *ref, u64 from, u64 to, u64 length, u64 *done);
int copyref_copy(struct copyref *ref, struct copyref_op *op);

/* bios.c, where the kernel has what it needs */
#ifdef COPYREF_BIOS
void copyref_bio_limits(const struct copyref_limits *own, struct queue_limits *lim);
int copyref_bios_change(struct copyref *ref, const struct copyref_limits *own);
int copyref_bios(struct copyref *ref, struct request *rq);
#else
static inline void copyref_bio_limits(const struct copyref_limits *own,
				      struct queue_limits *lim) { }
static inline int copyref_bios_change(struct copyref *ref,
				      const struct copyref_limits *own) { return 0; }
static inline int copyref_bios(struct copyref *ref, struct request *rq)
{
	return -EOPNOTSUPP;
}
#endif

/* fault.c */
struct copyref_fault copyref_fault(struct copyref *ref);
bool copyref_does(struct copyref *ref, enum fault_kind kind);
int copyref_break(struct copyref *ref, struct copyref_fault fault,
		  u64 from, u64 to, u64 length, u64 *done);
extern struct device_attribute dev_attr_fault;

#endif /* COPYREF_INTERNAL_H */
