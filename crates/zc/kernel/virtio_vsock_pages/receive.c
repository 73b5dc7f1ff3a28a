// SPDX-License-Identifier: GPL-2.0
/*
 * The rx queue: the device fills runs of pages, and packets are made of them.
 *
 *	device's buffer		[header 44 bytes] [run of 2^k pages, adjacent]
 *
 *	packet, long		header copied; each page a fragment of its own
 *	packet, short		header and payload copied; the run is used again
 *
 * This layout is the one that every host understands: a header, and one piece.
 * A run is split into pages that are counted each for itself, so that one that
 * somebody has mapped does not keep the others.
 *
 * Credit counts bytes of payload, not memory: without the copy of short packets
 * a peer could fill a run with each byte. A copied one can be merged with others
 * by the common code.
 *
 * Nothing that the device writes is used before it is copied and checked. With
 * each buffer goes an empty packet, so that none that arrived is lost when
 * memory is short.
 */

#include <linux/mm.h>
#include <linux/random.h>
#include <linux/slab.h>

#include "pages.h"

/* A work lets others run after so many packets. */
#define PACKETS_AT_ONCE	256
/* The device learns of so many new buffers while others are worked on. */
#define PACKETS_PER_KICK 8

static_assert((1 << MAX_RUN_ORDER) <= MAX_SKB_FRAGS);

/* What is short is tried again later: no process is to be killed for a ring. */
#define GFP_RING	(GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL)

/* A buffer that the device has, or is about to have. */
struct vvp_buffer {
	/* The device writes here: nothing else shares the cache lines. */
	struct virtio_vsock_hdr header DEVICE_WRITES;

	struct page *run DEVICE_WRITES;	/* the first page */
	unsigned int order;
	struct sk_buff *empty;
};

static u32 run_len(const struct vvp_buffer *buffer)
{
	return PAGE_SIZE << buffer->order;
}

static void free_pages_from(struct vvp_buffer *buffer, unsigned int first)
{
	unsigned int i;

	for (i = first; i < 1U << buffer->order; i++)
		__free_page(buffer->run + i);
}

static void free_buffer(struct vvp_buffer *buffer)
{
	if (!buffer)
		return;
	if (buffer->run)
		free_pages_from(buffer, 0);
	kfree_skb(buffer->empty);
	kfree(buffer);
}

/* For tests. By chance, as a rhythm could always meet the same allocation. */
static bool must_fail(void)
{
	unsigned int one_in = READ_ONCE(vvp_fail_one_in);

	return one_in && !get_random_u32_below(one_in);
}

static struct page *get_pages(unsigned int order)
{
	struct page *pages;

	/* A longer run is not worth moving others' memory for. */
	if (must_fail())
		return NULL;
	pages = alloc_pages(order ? GFP_RING | __GFP_NORETRY : GFP_RING, order);
	if (pages)
		split_page(pages, order);
	return pages;
}

/* A long run if there is one, else a shorter one. */
static void get_run(struct vvp_device *device, struct vvp_buffer *buffer)
{
	int k;

	for (k = device->rx.order; k >= 0 && !buffer->run; k--) {
		buffer->run = get_pages(k);
		buffer->order = k;
	}
	if (buffer->run && buffer->order < device->rx.order)
		device->count.rx_short_runs++;
}

static struct sk_buff *get_packet(u32 payload)
{
	struct sk_buff *skb = NULL;

	if (!must_fail())
		skb = alloc_skb(HEADER_LEN + payload, GFP_RING);
	/* The common code finds the header in front of the payload. */
	if (skb)
		skb_reserve(skb, HEADER_LEN);
	return skb;
}

/* Gets what the buffer lacks; false if there is no memory. */
static bool complete_buffer(struct vvp_device *device,
			    struct vvp_buffer *buffer)
{
	if (!buffer->empty)
		buffer->empty = get_packet(0);
	if (!buffer->run)
		get_run(device, buffer);
	if (buffer->empty && buffer->run)
		return true;
	device->count.rx_shortages++;
	return false;
}

static struct vvp_buffer *new_buffer(struct vvp_device *device)
{
	struct vvp_buffer *buffer = NULL;

	if (!must_fail())
		buffer = kzalloc(sizeof(*buffer), GFP_RING);
	if (!buffer) {
		device->count.rx_shortages++;
	} else if (!complete_buffer(device, buffer)) {
		free_buffer(buffer);
		buffer = NULL;
	}
	return buffer;
}

/* Gives a buffer to the device, or frees it if its queue has no place. */
static bool post(struct vvp_device *device, struct vvp_buffer *buffer)
{
	struct vvp_receiver *rx = &device->rx;
	struct scatterlist pieces[2];

	sg_init_table(pieces, 2);
	sg_set_buf(&pieces[0], &buffer->header, HEADER_LEN);
	sg_set_page(&pieces[1], buffer->run, run_len(buffer), 0);
	if (virtqueue_add_inbuf(rx->vq, pieces, 2, buffer, GFP_RING)) {
		free_buffer(buffer);
		return false;
	}
	rx->posted++;
	rx->posted_bytes += run_len(buffer);
	return true;
}

static bool ring_has_room(const struct vvp_receiver *rx)
{
	size_t limit = (size_t)vvp_ring_kib << 10;

	return rx->vq->num_free &&
	       rx->posted_bytes + (PAGE_SIZE << rx->order) <= limit;
}

/* Nobody calls when a ring stays empty, so what is missing is tried again. */
static void fill(struct vvp_device *device)
{
	struct vvp_receiver *rx = &device->rx;

	while (ring_has_room(rx)) {
		struct vvp_buffer *buffer = new_buffer(device);

		if (!buffer) {
			queue_delayed_work(vvp_workqueue, &rx->refill,
					   RETRY_DELAY);
			break;
		}
		if (!post(device, buffer))
			break;
	}
	virtqueue_kick(rx->vq);
}

/* Payload stays where it is: the pages become the packet's. */
static struct sk_buff *paged_packet(struct vvp_buffer *buffer, u32 len)
{
	struct sk_buff *skb = buffer->empty;
	unsigned int i = 0;

	buffer->empty = NULL;
	if (!len)
		return skb;
	for (; len; i++) {
		u32 part = min_t(u32, len, PAGE_SIZE);

		skb_add_rx_frag(skb, i, buffer->run + i, 0, part, PAGE_SIZE);
		len -= part;
	}
	free_pages_from(buffer, i);
	buffer->run = NULL;
	return skb;
}

static struct sk_buff *copied_packet(const struct vvp_buffer *buffer, u32 len)
{
	struct sk_buff *skb = get_packet(len);

	if (skb && len)
		skb_put_data(skb, page_address(buffer->run), len);
	return skb;
}

static struct sk_buff *make_packet(struct vvp_device *device,
				   struct vvp_buffer *buffer, u32 len)
{
	struct vvp_counters *count = &device->count;
	struct sk_buff *skb = NULL;

	count->rx_packets++;
	if (len <= vvp_copybreak)
		skb = copied_packet(buffer, len);
	if (skb) {
		count->rx_copied_bytes += len;
		return skb;
	}
	if (len) {
		count->rx_paged_packets++;
		count->rx_paged_bytes += len;
	}
	return paged_packet(buffer, len);
}

/*
 * The device returned the buffer without a byte: it takes none that long, or
 * none at all for now. Posting it again as it was could go on for ever.
 */
static bool shorten(struct vvp_device *device, struct vvp_buffer *buffer)
{
	unsigned int shorter, first;

	device->count.rx_refused++;
	if (!buffer->order)
		return false;
	shorter = buffer->order - 1;
	device->rx.order = min(device->rx.order, shorter);
	first = 1U << device->rx.order;
	free_pages_from(buffer, first);
	buffer->order = device->rx.order;
	return true;
}

/* Takes the packet out of a buffer that came back; NULL if there is none. */
static struct sk_buff *unpack(struct vvp_device *device,
			      struct vvp_buffer *buffer, u32 used)
{
	struct virtio_vsock_hdr header;
	struct sk_buff *skb;
	u32 len;

	/* One look: the device could still write to it. */
	memcpy(&header, &buffer->header, sizeof(header));
	len = le32_to_cpu(header.len);
	if (used < HEADER_LEN || used - HEADER_LEN > run_len(buffer) ||
	    len > used - HEADER_LEN) {
		device->count.rx_dropped++;
		return NULL;
	}
	skb = make_packet(device, buffer, len);
	memcpy(virtio_vsock_hdr(skb), &header, sizeof(header));
	return skb;
}

/* False: the device takes none for now, so this one is not given back to it. */
static bool take_buffer(struct vvp_device *device, struct vvp_buffer *buffer,
			u32 used)
{
	struct vvp_receiver *rx = &device->rx;
	struct sk_buff *skb = NULL;

	rx->posted--;
	rx->posted_bytes -= run_len(buffer);
	if (used) {
		skb = unpack(device, buffer, used);
	} else if (!shorten(device, buffer)) {
		free_buffer(buffer);
		return false;
	}

	if (complete_buffer(device, buffer))
		post(device, buffer);
	else
		free_buffer(buffer);
	if (skb) {
		virtio_transport_deliver_tap_pkt(skb);
		vvp_deliver(skb);
	}
	return true;
}

/*
 * What is received may have to be answered. A peer that does not take the
 * answers is not heard until it does: then the sender starts this again.
 */
static void receive(struct vvp_device *device)
{
	struct vvp_receiver *rx = &device->rx;
	unsigned int packets = 0;
	bool refused = false;

	for (;;) {
		struct vvp_buffer *buffer;
		u32 used;

		if (vvp_too_many_answers(device)) {
			device->count.rx_pauses++;
			break;
		}
		if (packets++ == PACKETS_AT_ONCE) {
			queue_work(vvp_workqueue, &rx->work);
			break;
		}
		if (!(packets % PACKETS_PER_KICK))
			virtqueue_kick(rx->vq);
		buffer = virtqueue_get_buf(rx->vq, &used);
		if (!buffer) {
			/* False: one came in between. */
			if (virtqueue_enable_cb(rx->vq))
				break;
			virtqueue_disable_cb(rx->vq);
			continue;
		}
		refused |= !take_buffer(device, buffer, used);
		cond_resched();
	}
	if (refused)
		queue_delayed_work(vvp_workqueue, &rx->refill, RETRY_DELAY);
	else
		fill(device);
}

static void rx_work(struct work_struct *work)
{
	struct vvp_device *device =
		container_of(work, struct vvp_device, rx.work);

	mutex_lock(&device->rx.lock);
	virtqueue_disable_cb(device->rx.vq);
	receive(device);
	mutex_unlock(&device->rx.lock);
}

static void refill_work(struct work_struct *work)
{
	struct vvp_device *device =
		container_of(to_delayed_work(work), struct vvp_device, rx.refill);

	mutex_lock(&device->rx.lock);
	fill(device);
	mutex_unlock(&device->rx.lock);
	/* Also what came back while receiving was paused. */
	queue_work(vvp_workqueue, &device->rx.work);
}

void vvp_rx_callback(struct virtqueue *vq)
{
	struct vvp_device *device = vvp_device_of(vq);

	if (device)
		queue_work(vvp_workqueue, &device->rx.work);
}

void vvp_rx_init(struct vvp_device *device)
{
	mutex_init(&device->rx.lock);
	INIT_WORK(&device->rx.work, rx_work);
	INIT_DELAYED_WORK(&device->rx.refill, refill_work);
	device->rx.order = vvp_order;
}

void vvp_rx_start(struct vvp_device *device)
{
	mutex_lock(&device->rx.lock);
	fill(device);
	mutex_unlock(&device->rx.lock);
}

void vvp_rx_stop(struct vvp_device *device)
{
	disable_delayed_work_sync(&device->rx.refill);
	disable_work_sync(&device->rx.work);
}

void vvp_rx_free(struct vvp_device *device)
{
	struct vvp_buffer *buffer;

	while ((buffer = virtqueue_detach_unused_buf(device->rx.vq)))
		free_buffer(buffer);
}
