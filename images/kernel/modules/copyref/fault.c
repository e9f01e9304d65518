// SPDX-License-Identifier: GPL-2.0
/*
 * copyref: the faults that can be asked for, so that whoever judges copies can
 * be seen to notice.
 */
#include <linux/delay.h>
#include <linux/falloc.h>
#include <linux/gfp.h>

#include "internal.h"

static const char * const fault_names[] = {
	"none", "fail", "short", "drop", "half", "zero", "wrong", "torn",
	"shift", "spill", "move", "overstate", "swallow", "rename", "unsynced",
	"emulate", "late", "warn", "stuck", "stale-source", "stale-target",
	"unlimited", "strict",
};

struct copyref_fault copyref_fault(struct copyref *ref)
{
	struct copyref_fault fault;

	spin_lock(&ref->lock);
	fault = ref->fault;
	spin_unlock(&ref->lock);
	return fault;
}

bool copyref_does(struct copyref *ref, enum fault_kind kind)
{
	return copyref_fault(ref).kind == kind;
}

static int copyref_rw_page(struct copyref *ref, unsigned int direction,
			   struct page *page, size_t size, loff_t at)
{
	struct bio_vec bvec;
	struct iov_iter iter;

	bvec_set_page(&bvec, page, size, 0);
	iov_iter_bvec(&iter, direction, &bvec, 1, size);
	return copyref_rw(ref, &iter, at);
}

/* Read and write a range; torn: half of its first sector is zeroes then. */
static int copyref_by_hand(struct copyref *ref, u64 from, u64 to, u64 length,
			   bool torn)
{
	struct page *page = alloc_page(GFP_NOIO);
	int error = page ? 0 : -ENOMEM;
	u64 at, size;

	for (at = 0; at < length && !error; at += size) {
		size = min_t(u64, length - at, PAGE_SIZE);
		error = copyref_rw_page(ref, ITER_DEST, page, size, from + at);
		if (error)
			break;
		if (torn && !at)
			memset(page_address(page), 0, SECTOR_SIZE / 2);
		error = copyref_rw_page(ref, ITER_SOURCE, page, size, to + at);
	}
	if (page)
		__free_page(page);
	return error;
}

/* Do something wrong with a range. */
int copyref_break(struct copyref *ref, struct copyref_fault fault,
		  u64 from, u64 to, u64 length, u64 *done)
{
	u64 block = ref->block_size, half = round_down(length / 2, block), some;
	int error;

	*done = length;
	switch (fault.kind) {
	case FAULT_FAIL:
		*done = 0;
		return -(int)(fault.arg ?: EIO);
	case FAULT_SHORT:
		return copyref_range(ref, from, to, half, done) ?: -EIO;
	case FAULT_DROP:
		return 0;
	case FAULT_HALF:
		return copyref_range(ref, from, to, half, &some);
	case FAULT_ZERO:
		return copyref_zero(ref, FALLOC_FL_PUNCH_HOLE, to, length);
	case FAULT_WRONG:
		return copyref_range(ref, from + block, to, length, &some);
	case FAULT_TORN:
		return copyref_range(ref, from, to, length, &some) ?:
		       copyref_by_hand(ref, from, to, block, true);
	case FAULT_SHIFT:
		return copyref_range(ref, from, to + block, length, &some);
	case FAULT_SPILL:
		return copyref_range(ref, from, to, length + block, &some);
	case FAULT_MOVE:
		error = copyref_range(ref, from, to, length, &some);
		return error ?: copyref_zero(ref, FALLOC_FL_PUNCH_HOLE, from, length);
	case FAULT_OVERSTATE:
		return -EIO;
	case FAULT_EMULATE:
		return copyref_by_hand(ref, from, to, length, false);
	case FAULT_LATE:
		msleep(fault.arg);
		break;
	case FAULT_WARN:
		WARN(1, "copyref: asked to complain\n");
		break;
	default:
		break;
	}
	return copyref_range(ref, from, to, length, done);
}

static ssize_t fault_show(struct device *dev, struct device_attribute *attr,
			  char *page)
{
	struct copyref_fault fault = copyref_fault(to_copyref(dev));

	return sysfs_emit(page, "%s %u %u\n", fault_names[fault.kind],
			  fault.range, fault.arg);
}

static ssize_t fault_store(struct device *dev, struct device_attribute *attr,
			   const char *page, size_t count)
{
	struct copyref *ref = to_copyref(dev);
	struct copyref_fault fault = {};
	char name[16];
	int kind;

	if (sscanf(page, "%15s %u %u", name, &fault.range, &fault.arg) < 1)
		return -EINVAL;
	kind = match_string(fault_names, ARRAY_SIZE(fault_names), name);
	if (kind < 0 || (kind != FAULT_LATE && fault.arg > MAX_ERRNO))
		return -EINVAL;
	fault.kind = kind;
	spin_lock(&ref->lock);
	ref->fault = fault;
	ref->stuck = false;
	spin_unlock(&ref->lock);
	return count;
}

struct device_attribute dev_attr_fault = __ATTR_RW(fault);
