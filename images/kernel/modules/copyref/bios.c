// SPDX-License-Identifier: GPL-2.0
/*
 * copyref: copies that the block layer asks for, as bios of their own.
 *
 * No kernel that was released has them.  Kbuild tries to compile this file,
 * and leaves it out where that fails.
 */
#include <linux/blk-copy.h>
#include <linux/blk-mq.h>
#include <linux/slab.h>

#include "internal.h"

/* In step with what the ioctl refuses, as far as the block layer has words for it. */
void copyref_bio_limits(const struct copyref_limits *own, struct queue_limits *lim)
{
	u64 sectors = min(own->range_bytes, own->copy_bytes) >> SECTOR_SHIFT;

	/* What is longer is cut there, and each part must be whole blocks. */
	lim->max_copy_hw_sectors = round_down(min_t(u64, sectors, COPYREF_SECTORS),
					      lim->logical_block_size >> SECTOR_SHIFT);
	lim->max_copy_src_segments = min_t(unsigned int, own->ranges, U16_MAX);
	lim->max_copy_dst_segments = 1;
	if (lim->max_copy_hw_sectors && lim->max_copy_src_segments)
		return;
	lim->max_copy_hw_sectors = 0;
	lim->max_copy_src_segments = 0;
	lim->max_copy_dst_segments = 0;
}

int copyref_bios_change(struct copyref *ref, const struct copyref_limits *own)
{
	struct queue_limits lim = queue_limits_start_update(ref->disk->queue);

	copyref_bio_limits(own, &lim);
	return queue_limits_commit_update_frozen(ref->disk->queue, &lim);
}

/* Take a bio of a copy into what is to be done. */
static int copyref_bios_add(struct copyref *ref, const struct bio *bio,
			    struct copyref_op *op)
{
	u64 at = (u64)bio->bi_iter.bi_sector << SECTOR_SHIFT;

	/* Of two disks of this driver the block layer would let one do it. */
	if (bio->bi_bdev->bd_disk != ref->disk)
		return -EOPNOTSUPP;
	if (bio_op(bio) == REQ_OP_COPY_SRC) {
		op->ranges[op->nr_ranges++] =
			(struct copyref_range){ at, bio->bi_iter.bi_size };
		op->length += bio->bi_iter.bi_size;
		return 0;
	}
	if (op->to != U64_MAX)
		return -EOPNOTSUPP;
	op->to = at;
	return 0;
}

/*
 * Carry out the copy that one bio of a request stands for; the others of the
 * same copy hang on their context.
 */
static int copyref_bios_copy(struct copyref *ref, const struct bio *first)
{
	const struct bio_copy_offload_ctx *ctx = first->bi_copy_ctx;
	struct copyref_op op = { .to = U64_MAX };
	const struct bio *bio;
	unsigned int most = 1;
	int error;

	for (bio = ctx->bios; bio; bio = bio->bi_next)
		most++;
	op.ranges = kvmalloc_array(most, sizeof(*op.ranges), GFP_NOIO);
	if (!op.ranges)
		return -ENOMEM;
	error = copyref_bios_add(ref, first, &op);
	for (bio = ctx->bios; bio && !error; bio = bio->bi_next)
		error = copyref_bios_add(ref, bio, &op);
	if (!error && (op.to == U64_MAX || op.length != ctx->len))
		error = -EINVAL;
	if (!error)
		error = copyref_copy(ref, &op);
	kvfree(op.ranges);
	return error;
}

int copyref_bios(struct copyref *ref, struct request *rq)
{
	struct bio *bio;
	int error = -EOPNOTSUPP;

	if (!op_is_copy(rq->cmd_flags))
		return error;
	/* Neighbours may have been merged: each is a copy of its own. */
	__rq_for_each_bio(bio, rq) {
		error = copyref_bios_copy(ref, bio);
		if (error)
			break;
	}
	return error;
}
