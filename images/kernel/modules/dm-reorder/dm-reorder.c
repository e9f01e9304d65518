// SPDX-License-Identifier: GPL-2.0
/*
 * dm-reorder: a disk that answers flushes at once, and writes behind them.
 *
 * A defect, for tests that must find it.  A write is kept in memory and has
 * succeeded; a flush has succeeded too, and only then does what was written
 * before the flush that preceded it go to the disk below.  So what was flushed
 * is not durable before the next flush, and a write with FUA, which goes below
 * at once, overtakes it.  Reads see all of it.  Whoever suspends or removes
 * the device gets everything written: only a power cut shows the difference.
 *
 *   echo "0 SECTORS reorder DEVICE" | dmsetup create NAME
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#define DM_MSG_PREFIX "reorder"

struct reorder {
	struct dm_dev *dev;
	struct workqueue_struct *wq;	/* does one thing after the other */
	struct work_struct work;
	spinlock_t lock;
	struct bio_list asked;		/* what is to be done; under the lock */
	struct bio_list held;		/* copies of what was written since the last flush, */
	struct bio_list due;		/* and of what was written before it */
	blk_status_t status;		/* what came of writes that had succeeded */
};

/* Send a bio to the disk below; it is used up by that. */
static blk_status_t reorder_below(struct bio *bio)
{
	return errno_to_blk_status(submit_bio_wait(bio));
}

/* The same, of which the original is still needed. */
static blk_status_t reorder_through(struct reorder *r, struct bio *bio)
{
	struct bio *clone = bio_alloc_clone(r->dev->bdev, bio, GFP_NOIO, &fs_bio_set);
	blk_status_t status;

	if (!clone)
		return BLK_STS_RESOURCE;
	status = reorder_below(clone);
	bio_put(clone);
	return status;
}

static void reorder_forget(struct bio *held)
{
	bio_free_pages(held);
	bio_put(held);
}

/* Write what was put off, in the order in which it was written. */
static void reorder_carry_out(struct reorder *r, struct bio_list *late)
{
	struct bio *held;

	while ((held = bio_list_pop(late))) {
		blk_status_t status = reorder_below(held);

		if (status)
			r->status = status;
		reorder_forget(held);
	}
}

static blk_status_t reorder_hold(struct reorder *r, struct bio *bio)
{
	unsigned int left = bio->bi_iter.bi_size;
	struct bio *held;

	held = bio_alloc(r->dev->bdev, DIV_ROUND_UP(left, PAGE_SIZE), REQ_OP_WRITE, GFP_NOIO);
	if (!held)
		return BLK_STS_RESOURCE;
	held->bi_iter.bi_sector = bio->bi_iter.bi_sector;
	while (left) {
		unsigned int size = min_t(unsigned int, left, PAGE_SIZE);
		struct page *page = alloc_page(GFP_NOIO);

		if (!page) {
			reorder_forget(held);
			return BLK_STS_RESOURCE;
		}
		__bio_add_page(held, page, size, 0);
		left -= size;
	}
	bio_copy_data(held, bio);
	bio_list_add(&r->held, held);
	return BLK_STS_OK;
}

/* Take into a bio that was read from below what of it is put off. */
static void reorder_overlay(struct bio *bio, struct bio *held)
{
	struct bvec_iter to = bio->bi_iter, from = held->bi_iter;
	sector_t start = max(to.bi_sector, from.bi_sector);

	if (start >= min(bio_end_sector(bio), bio_end_sector(held)))
		return;
	bio_advance_iter(bio, &bio->bi_iter, (start - to.bi_sector) << SECTOR_SHIFT);
	bio_advance_iter(held, &held->bi_iter, (start - from.bi_sector) << SECTOR_SHIFT);
	/* As far as both go. */
	bio_copy_data(bio, held);
	bio->bi_iter = to;
	held->bi_iter = from;
}

static blk_status_t reorder_read(struct reorder *r, struct bio *bio)
{
	blk_status_t status = reorder_through(r, bio);
	struct bio *held;

	if (status)
		return status;
	bio_list_for_each(held, &r->due)
		reorder_overlay(bio, held);
	bio_list_for_each(held, &r->held)
		reorder_overlay(bio, held);
	return BLK_STS_OK;
}

static blk_status_t reorder_write(struct reorder *r, struct bio *bio)
{
	/* In its turn too: else what was put off before would be written over it. */
	blk_status_t status = reorder_hold(r, bio);

	if (status || !(bio->bi_opf & REQ_FUA))
		return status;
	return reorder_through(r, bio);
}

static void reorder_end(struct bio *bio, blk_status_t status)
{
	bio->bi_status = status;
	bio_endio(bio);
}

static void reorder_do(struct reorder *r, struct bio *bio)
{
	if (r->status) {
		reorder_end(bio, r->status);
	} else if (bio->bi_opf & REQ_PREFLUSH) {
		reorder_end(bio, BLK_STS_OK);
		reorder_carry_out(r, &r->due);
		bio_list_merge(&r->due, &r->held);
		bio_list_init(&r->held);
	} else if (bio_data_dir(bio) == WRITE) {
		reorder_end(bio, reorder_write(r, bio));
	} else {
		reorder_end(bio, reorder_read(r, bio));
	}
}

static void reorder_work(struct work_struct *work)
{
	struct reorder *r = container_of(work, struct reorder, work);
	struct bio_list asked;
	struct bio *bio;

	spin_lock(&r->lock);
	asked = r->asked;
	bio_list_init(&r->asked);
	spin_unlock(&r->lock);
	while ((bio = bio_list_pop(&asked)))
		reorder_do(r, bio);
}

static int reorder_map(struct dm_target *ti, struct bio *bio)
{
	struct reorder *r = ti->private;

	bio->bi_iter.bi_sector = dm_target_offset(ti, bio->bi_iter.bi_sector);
	spin_lock(&r->lock);
	bio_list_add(&r->asked, bio);
	spin_unlock(&r->lock);
	queue_work(r->wq, &r->work);
	return DM_MAPIO_SUBMITTED;
}

/* Nobody asks for anything any more. */
static void reorder_postsuspend(struct dm_target *ti)
{
	struct reorder *r = ti->private;

	flush_workqueue(r->wq);
	reorder_carry_out(r, &r->due);
	reorder_carry_out(r, &r->held);
	if (blkdev_issue_flush(r->dev->bdev) || r->status)
		DMERR("%s: writes that had succeeded are lost", r->dev->name);
}

static void reorder_dtr(struct dm_target *ti)
{
	struct reorder *r = ti->private;

	if (r->wq)
		destroy_workqueue(r->wq);
	if (r->dev)
		dm_put_device(ti, r->dev);
	kfree(r);
}

static int reorder_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct reorder *r;
	int error;

	if (argc != 1) {
		ti->error = "Expected one argument, the device below";
		return -EINVAL;
	}
	r = kzalloc(sizeof(*r), GFP_KERNEL);
	if (!r)
		return -ENOMEM;
	ti->private = r;
	INIT_WORK(&r->work, reorder_work);
	spin_lock_init(&r->lock);
	error = dm_get_device(ti, argv[0], dm_table_get_mode(ti->table), &r->dev);
	if (error) {
		ti->error = "Device lookup failed";
		goto failed;
	}
	error = dm_set_target_max_io_len(ti, BIO_MAX_VECS << PAGE_SECTORS_SHIFT);
	if (error)
		goto failed;
	error = -ENOMEM;
	r->wq = alloc_ordered_workqueue("dm-reorder", WQ_MEM_RECLAIM);
	if (!r->wq)
		goto failed;
	ti->num_flush_bios = 1;
	ti->flush_supported = true;
	return 0;
failed:
	reorder_dtr(ti);
	return error;
}

static void reorder_status(struct dm_target *ti, status_type_t type,
			   unsigned int status_flags, char *result, unsigned int maxlen)
{
	struct reorder *r = ti->private;

	result[0] = '\0';
	if (type == STATUSTYPE_TABLE)
		scnprintf(result, maxlen, "%s", r->dev->name);
}

static int reorder_iterate_devices(struct dm_target *ti,
				   iterate_devices_callout_fn fn, void *data)
{
	struct reorder *r = ti->private;

	return fn(ti, r->dev, 0, ti->len, data);
}

static struct target_type reorder_target = {
	.name			= "reorder",
	.version		= { 1, 0, 0 },
	.module			= THIS_MODULE,
	.ctr			= reorder_ctr,
	.dtr			= reorder_dtr,
	.map			= reorder_map,
	.postsuspend		= reorder_postsuspend,
	.status			= reorder_status,
	.iterate_devices	= reorder_iterate_devices,
};
module_dm(reorder);

MODULE_DESCRIPTION("A disk that answers flushes at once, and writes behind them");
MODULE_LICENSE("GPL");
