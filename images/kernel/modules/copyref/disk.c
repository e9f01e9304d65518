// SPDX-License-Identifier: GPL-2.0
/*
 * copyref: a disk whose copies are reflinks, a reference for copy offload.
 *
 * The medium is a file.  What is read from and written to the disk is read
 * from and written to the file, a flush is an fsync, what is discarded or
 * zeroed becomes a hole, and a copy is copy_file_range() within the file: on a
 * file system with reflinks no data are moved.  What a copy comes to, and what
 * the caller is told when it fails half-way, is what the file system says.
 *
 *   cd /sys/module/copyref/parameters
 *   echo NAME FILE BLOCK_SIZE DIRECT_IO >add    # makes /dev/copyref-NAME
 *   echo NAME >remove
 *
 * In /sys/block/copyref-NAME, `limits` is "RANGES RANGE_BYTES COPY_BYTES", the
 * most that a copy may have, and `fault` is "KIND [RANGE [ARGUMENT]]": what is
 * done wrong, with which range of each copy (0: every one), and how.  Both can
 * be changed while copies run.
 *
 * A copy is asked for by an ioctl (copyref.h), and, where the kernel has such
 * bios, by the block layer (bios.c).
 */
#include <linux/blk-mq.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/uio.h>

#include "internal.h"

#define COPYREF_DEPTH		128
#define COPYREF_MOST_RANGES	U16_MAX
#define COPYREF_MOST_SECTORS	(SZ_1M >> SECTOR_SHIFT)	/* to read or write at once */

struct copyref_cmd {
	struct work_struct work;
	struct copyref_op *op;		/* of REQ_OP_DRV_OUT */
};

static LIST_HEAD(copyref_disks);
static bool copyref_leaving;		/* the module is: no disk may come any more */
static DEFINE_MUTEX(copyref_lock);	/* of both */

/* The medium */

int copyref_rw(struct copyref *ref, struct iov_iter *iter, loff_t at)
{
	size_t wanted = iov_iter_count(iter);
	ssize_t moved;

	if (iov_iter_rw(iter) == WRITE)
		moved = vfs_iter_write(ref->medium, iter, &at, 0);
	else
		moved = vfs_iter_read(ref->medium, iter, &at, 0);
	if (moved < 0)
		return moved;
	return moved == wanted ? 0 : -EIO;
}

/* All bios of a request at once: one by one, what the page cache writes would be slow. */
static int copyref_rw_request(struct copyref *ref, struct request *rq,
			      loff_t at)
{
	unsigned int direction = op_is_write(req_op(rq)) ? ITER_SOURCE : ITER_DEST;
	struct bio_vec bvec, *bvecs;
	struct req_iterator each;
	struct iov_iter iter;
	int error, parts = 0;

	rq_for_each_bvec(bvec, rq, each)
		parts++;
	bvecs = kmalloc_array(parts, sizeof(*bvecs), GFP_NOIO);
	if (!bvecs)
		return -ENOMEM;
	parts = 0;
	rq_for_each_bvec(bvec, rq, each)
		bvecs[parts++] = bvec;
	iov_iter_bvec(&iter, direction, bvecs, parts, blk_rq_bytes(rq));
	error = copyref_rw(ref, &iter, at);
	kfree(bvecs);
	return error;
}

int copyref_zero(struct copyref *ref, int mode, loff_t at, loff_t size)
{
	return vfs_fallocate(ref->medium, mode | FALLOC_FL_KEEP_SIZE, at, size);
}

static int copyref_sync(struct copyref *ref)
{
	if (copyref_does(ref, FAULT_UNSYNCED))
		return 0;
	return vfs_fsync(ref->medium, 0);
}

/* Copies */

/* Copy a range; *done is what was copied, whatever comes of it. */
int copyref_range(struct copyref *ref, u64 from, u64 to, u64 length, u64 *done)
{
	for (*done = 0; *done < length;) {
		ssize_t copied = vfs_copy_file_range(ref->medium, from + *done,
						     ref->medium, to + *done,
						     length - *done, 0);

		if (copied < 0)
			return copied;
		if (!copied)
			return -EIO;
		*done += copied;
	}
	return 0;
}

int copyref_copy(struct copyref *ref, struct copyref_op *op)
{
	struct copyref_fault fault = copyref_fault(ref);
	u64 to = op->to, done;
	unsigned int i;
	int error = 0;

	if (fault.kind == FAULT_STUCK && xchg(&ref->stuck, true))
		return -EIO;
	for (i = 0; i < op->nr_ranges && !error; i++) {
		u64 from = op->ranges[i].start, length = op->ranges[i].length;

		if (fault.range && fault.range != i + 1)
			error = copyref_range(ref, from, to, length, &done);
		else
			error = copyref_break(ref, fault, from, to, length, &done);
		op->done += done;
		to += length;
	}
	if (op->done && op->durable) {
		/* Also after an error: the caller will not copy again what is done. */
		int unsynced = copyref_sync(ref);

		if (unsynced)
			op->done = 0;
		error = error ?: unsynced;
	}
	if (!error || fault.kind == FAULT_SWALLOW)
		return 0;
	return fault.kind == FAULT_RENAME ? -(int)(fault.arg ?: EREMOTEIO) : error;
}

/* Requests */

static int copyref_do(struct copyref *ref, struct request *rq)
{
	struct copyref_cmd *cmd = blk_mq_rq_to_pdu(rq);
	loff_t at = (loff_t)blk_rq_pos(rq) << SECTOR_SHIFT;
	int mode = FALLOC_FL_PUNCH_HOLE;

	switch (req_op(rq)) {
	case REQ_OP_READ:
	case REQ_OP_WRITE:
		return copyref_rw_request(ref, rq, at);
	case REQ_OP_FLUSH:
		return copyref_sync(ref);
	case REQ_OP_WRITE_ZEROES:
		if (rq->cmd_flags & REQ_NOUNMAP)
			mode = FALLOC_FL_ZERO_RANGE;
		fallthrough;
	case REQ_OP_DISCARD:
		return copyref_zero(ref, mode, at, blk_rq_bytes(rq));
	case REQ_OP_DRV_OUT:
		cmd->op->error = copyref_copy(ref, cmd->op);
		return cmd->op->error;
	default:
		return copyref_bios(ref, rq);
	}
}

static void copyref_work(struct work_struct *work)
{
	struct copyref_cmd *cmd = container_of(work, struct copyref_cmd, work);
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	struct copyref *ref = rq->q->queuedata;
	unsigned int throttled = current->flags & PF_LOCAL_THROTTLE;
	unsigned int noio = memalloc_noio_save();
	int error;

	/* Others wait for what is written here, as with a loop device. */
	current->flags |= PF_LOCAL_THROTTLE;
	error = copyref_do(ref, rq);
	if (!error && rq->cmd_flags & REQ_FUA)
		error = copyref_sync(ref);
	if (!throttled)
		current->flags &= ~PF_LOCAL_THROTTLE;
	memalloc_noio_restore(noio);
	blk_mq_end_request(rq, errno_to_blk_status(error));
}

static blk_status_t copyref_queue_rq(struct blk_mq_hw_ctx *hctx,
				     const struct blk_mq_queue_data *bd)
{
	struct copyref_cmd *cmd = blk_mq_rq_to_pdu(bd->rq);
	struct copyref *ref = hctx->queue->queuedata;

	/* Not here: the submitter may be inside of a file system. */
	blk_mq_start_request(bd->rq);
	INIT_WORK(&cmd->work, copyref_work);
	queue_work(ref->wq, &cmd->work);
	return BLK_STS_OK;
}

static const struct blk_mq_ops copyref_mq_ops = {
	.queue_rq	= copyref_queue_rq,
};

/* The ioctl */

/* Let a copy be a request of the queue, which waits and ends like others. */
static int copyref_execute(struct request_queue *q, struct copyref_op *op)
{
	struct request *rq = blk_mq_alloc_request(q, REQ_OP_DRV_OUT, 0);
	struct copyref_cmd *cmd;
	blk_status_t status;

	if (IS_ERR(rq))
		return PTR_ERR(rq);
	cmd = blk_mq_rq_to_pdu(rq);
	cmd->op = op;
	status = blk_execute_rq(rq, false);
	blk_mq_free_request(rq);
	return op->error ?: blk_status_to_errno(status);
}

/* Whether some bytes are blocks of the device. */
static bool copyref_fits(struct block_device *bdev, u64 start, u64 length)
{
	u64 end;

	return length && !check_add_overflow(start, length, &end) &&
	       end <= bdev_nr_bytes(bdev) &&
	       IS_ALIGNED(start | length, bdev_logical_block_size(bdev));
}

/* Why a copy is refused, or 0. */
static int copyref_check(struct copyref *ref, struct block_device *bdev,
			 struct copyref_op *op)
{
	u64 more = copyref_does(ref, FAULT_STRICT), longest = 0;
	struct copyref_limits limits;
	unsigned int i;

	spin_lock(&ref->lock);
	limits = ref->limits;
	spin_unlock(&ref->lock);
	if (!limits.ranges || !limits.range_bytes || !limits.copy_bytes)
		return -EOPNOTSUPP;
	for (i = 0; i < op->nr_ranges; i++) {
		u64 length = op->ranges[i].length;

		if (!copyref_fits(bdev, op->ranges[i].start, length) ||
		    check_add_overflow(op->length, length, &op->length))
			return -EINVAL;
		longest = max(longest, length);
	}
	if (!copyref_fits(bdev, op->to, op->length))
		return -EINVAL;
	if (copyref_does(ref, FAULT_UNLIMITED))
		return 0;
	return op->nr_ranges + more <= limits.ranges &&
	       longest + more <= limits.range_bytes &&
	       op->length + more <= limits.copy_bytes ? 0 : -EINVAL;
}

/*
 * Carry a copy out, with the page cache minded: what is dirty in it may be a
 * source, or be written behind the copy; what it has of the destination is old.
 * The inode's lock keeps out write(), which may dirty the rest of a page, the
 * other one keeps pages from being filled.  What dirties pages without them (a
 * mounted file system's metadata) leaves one that cannot be dropped, and would
 * be written over the copy: such a copy has failed, and nothing of it is done.
 */
static int copyref_carry_out(struct copyref *ref, struct block_device *bdev,
			     struct copyref_op *op)
{
	struct address_space *mapping = bdev->bd_mapping;
	u64 shift = (u64)bdev->bd_start_sect << SECTOR_SHIFT;
	bool drop = !copyref_does(ref, FAULT_STALE_TARGET);
	pgoff_t first = op->to >> PAGE_SHIFT;
	pgoff_t last = (op->to + op->length - 1) >> PAGE_SHIFT;
	unsigned int i;
	int error;

	inode_lock(mapping->host);
	filemap_invalidate_lock(mapping);
	if (copyref_does(ref, FAULT_STALE_SOURCE))
		error = filemap_write_and_wait_range(mapping, op->to,
						     op->to + op->length - 1);
	else
		error = filemap_write_and_wait(mapping);
	if (!error && drop)
		error = invalidate_inode_pages2_range(mapping, first, last);
	if (!error) {
		for (i = 0; i < op->nr_ranges; i++)
			op->ranges[i].start += shift;
		op->to += shift;
		error = copyref_execute(bdev_get_queue(bdev), op);
		if (drop && invalidate_inode_pages2_range(mapping, first, last)) {
			op->done = 0;
			error = error ?: -EBUSY;
		}
	}
	filemap_invalidate_unlock(mapping);
	inode_unlock(mapping->host);
	return error;
}

static int copyref_ioctl(struct block_device *bdev, blk_mode_t mode,
			 unsigned int cmd, unsigned long arg)
{
	struct copyref *ref = bdev->bd_disk->private_data;
	struct copyref_copy __user *user = (void __user *)arg;
	struct copyref_op op = {};
	struct copyref_copy copy;
	int error;

	if (cmd != COPYREF_COPY)
		return -ENOTTY;
	if (!(mode & BLK_OPEN_WRITE))
		return -EBADF;
	if (copy_from_user(&copy, user, sizeof(copy)))
		return -EFAULT;
	if (copy.flags & ~COPYREF_DURABLE || !copy.nr_ranges ||
	    copy.nr_ranges > COPYREF_MOST_RANGES)
		return -EINVAL;
	op.ranges = vmemdup_array_user(u64_to_user_ptr(copy.ranges),
				       copy.nr_ranges, sizeof(*op.ranges));
	if (IS_ERR(op.ranges))
		return PTR_ERR(op.ranges);
	op.nr_ranges = copy.nr_ranges;
	op.durable = copy.flags & COPYREF_DURABLE;
	op.to = copy.to;
	error = copyref_check(ref, bdev, &op);
	if (!error)
		error = copyref_carry_out(ref, bdev, &op);
	kvfree(op.ranges);
	if (put_user(op.done, &user->done))
		return -EFAULT;
	return error;
}

static void copyref_free_disk(struct gendisk *disk)
{
	kfree(disk->private_data);
}

static const struct block_device_operations copyref_fops = {
	.owner		= THIS_MODULE,
	.ioctl		= copyref_ioctl,
	.compat_ioctl	= blkdev_compat_ptr_ioctl,
	.free_disk	= copyref_free_disk,
};

/* Attributes */

static ssize_t limits_show(struct device *dev, struct device_attribute *attr,
			   char *page)
{
	struct copyref_limits *limits = &to_copyref(dev)->limits;

	return sysfs_emit(page, "%u %llu %llu\n", limits->ranges,
			  limits->range_bytes, limits->copy_bytes);
}

static ssize_t limits_store(struct device *dev, struct device_attribute *attr,
			    const char *page, size_t count)
{
	struct copyref *ref = to_copyref(dev);
	struct copyref_limits limits;
	int error;

	if (sscanf(page, "%u %llu %llu", &limits.ranges, &limits.range_bytes,
		   &limits.copy_bytes) != 3)
		return -EINVAL;
	error = copyref_bios_change(ref, &limits);
	if (error)
		return error;
	spin_lock(&ref->lock);
	ref->limits = limits;
	spin_unlock(&ref->lock);
	return count;
}
static DEVICE_ATTR_RW(limits);

static struct attribute *copyref_attrs[] = {
	&dev_attr_limits.attr,
	&dev_attr_fault.attr,
	NULL,
};
ATTRIBUTE_GROUPS(copyref);

/* Coming and going */

static int copyref_add_disk(struct copyref *ref)
{
	struct inode *inode = file_inode(ref->medium);
	unsigned int granularity = max(ref->block_size, i_blocksize(inode));
	struct queue_limits lim = {
		.features		= BLK_FEAT_WRITE_CACHE | BLK_FEAT_FUA,
		.logical_block_size	= ref->block_size,
		.physical_block_size	= granularity,
		.discard_granularity	= granularity,
		.max_hw_sectors		= COPYREF_MOST_SECTORS,
		.max_hw_discard_sectors	= COPYREF_SECTORS,
		.max_write_zeroes_sectors = COPYREF_SECTORS,
	};
	struct gendisk *disk;
	int error;

	copyref_bio_limits(&ref->limits, &lim);
	disk = blk_mq_alloc_disk(&ref->tags, &lim, ref);
	if (IS_ERR(disk))
		return PTR_ERR(disk);
	disk->fops = &copyref_fops;
	disk->private_data = ref;
	snprintf(disk->disk_name, DISK_NAME_LEN, "copyref-%s", ref->name);
	set_capacity(disk, round_down(i_size_read(inode), ref->block_size) >>
		     SECTOR_SHIFT);
	/* Before its attributes can be written to, which look there. */
	ref->disk = disk;
	error = device_add_disk(NULL, disk, copyref_groups);
	if (error) {
		ref->disk = NULL;
		put_disk(disk);
	}
	return error;
}

static int copyref_open(struct copyref *ref, const char *file, int flags)
{
	struct file *medium = filp_open(file, O_RDWR | O_LARGEFILE | flags, 0);
	int error;

	if (IS_ERR(medium))
		return PTR_ERR(medium);
	ref->medium = medium;
	if (!S_ISREG(file_inode(medium)->i_mode) ||
	    i_size_read(file_inode(medium)) < ref->block_size)
		return -EINVAL;
	ref->wq = alloc_workqueue("copyref-%s", WQ_UNBOUND | WQ_MEM_RECLAIM,
				  COPYREF_DEPTH, ref->name);
	if (!ref->wq)
		return -ENOMEM;
	ref->tags.ops = &copyref_mq_ops;
	ref->tags.nr_hw_queues = 1;
	ref->tags.queue_depth = COPYREF_DEPTH;
	ref->tags.numa_node = NUMA_NO_NODE;
	ref->tags.cmd_size = sizeof(struct copyref_cmd);
	error = blk_mq_alloc_tag_set(&ref->tags);
	return error ?: copyref_add_disk(ref);
}

static void copyref_close(struct copyref *ref)
{
	if (ref->disk)
		del_gendisk(ref->disk);
	if (ref->tags.tags)
		blk_mq_free_tag_set(&ref->tags);
	if (ref->wq)
		destroy_workqueue(ref->wq);
	if (ref->medium)
		fput(ref->medium);
	if (ref->disk)
		put_disk(ref->disk);	/* frees ref, unless somebody has it open */
	else
		kfree(ref);
}

static struct copyref *copyref_find(const char *name)
{
	struct copyref *ref;

	list_for_each_entry(ref, &copyref_disks, list)
		if (!strcmp(ref->name, name))
			return ref;
	return NULL;
}

/* "NAME FILE BLOCK_SIZE DIRECT_IO" */
static int copyref_add(const char *value, const struct kernel_param *param)
{
	char *file __free(kfree) = kzalloc(PATH_MAX, GFP_KERNEL);
	struct copyref *ref = kzalloc(sizeof(*ref), GFP_KERNEL);
	unsigned int direct;
	int error = -EINVAL;

	if (!file || !ref) {
		kfree(ref);
		return -ENOMEM;
	}
	mutex_lock(&copyref_lock);
	spin_lock_init(&ref->lock);
	ref->limits = (struct copyref_limits){ 128, SZ_1G, SZ_1G };
	/* In step with COPYREF_NAME and PATH_MAX. */
	if (copyref_leaving)
		error = -ENODEV;
	else if (sscanf(value, "%20s %4095s %u %u", ref->name, file,
			&ref->block_size, &direct) == 4 &&
		 ref->block_size >= SECTOR_SIZE && ref->block_size <= PAGE_SIZE)
		error = copyref_find(ref->name) ? -EEXIST :
			copyref_open(ref, file, direct ? O_DIRECT : 0);
	if (error)
		copyref_close(ref);
	else
		list_add(&ref->list, &copyref_disks);
	mutex_unlock(&copyref_lock);
	return error;
}

static int copyref_remove(const char *value, const struct kernel_param *param)
{
	char name[COPYREF_NAME + 1];
	struct copyref *ref;

	if (sscanf(value, "%20s", name) != 1)
		return -EINVAL;
	mutex_lock(&copyref_lock);
	ref = copyref_find(name);
	if (ref) {
		list_del(&ref->list);
		copyref_close(ref);
	}
	mutex_unlock(&copyref_lock);
	return ref ? 0 : -ENOENT;
}

static const struct kernel_param_ops copyref_add_ops = { .set = copyref_add };
static const struct kernel_param_ops copyref_remove_ops = { .set = copyref_remove };

module_param_cb(add, &copyref_add_ops, NULL, 0200);
MODULE_PARM_DESC(add, "NAME FILE BLOCK_SIZE DIRECT_IO");
module_param_cb(remove, &copyref_remove_ops, NULL, 0200);
MODULE_PARM_DESC(remove, "NAME");

static int __init copyref_init(void)
{
	return 0;
}

static void __exit copyref_exit(void)
{
	struct copyref *ref, *next;

	/* The files in parameters are there until this has returned. */
	mutex_lock(&copyref_lock);
	copyref_leaving = true;
	list_for_each_entry_safe(ref, next, &copyref_disks, list) {
		list_del(&ref->list);
		copyref_close(ref);
	}
	mutex_unlock(&copyref_lock);
}

module_init(copyref_init);
module_exit(copyref_exit);
MODULE_DESCRIPTION("A disk whose copies are reflinks");
MODULE_LICENSE("GPL");
