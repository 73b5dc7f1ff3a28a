/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of virtio_vsock_pages share.
 *
 *	transport.c	the module, and what vsock asks of a guest's transport
 *	device.c	a virtio device comes and goes; the event queue
 *	receive.c	the rx queue: runs of pages, packets made of them
 *	send.c		the tx queue
 *	split.c		a packet of many pieces becomes several of one piece
 *	counters.c	what happened, in sysfs
 *	parameters.c	what can be chosen when the module is loaded
 */
#ifndef _VIRTIO_VSOCK_PAGES_H
#define _VIRTIO_VSOCK_PAGES_H

#include <linux/atomic.h>
#include <linux/cache.h>
#include <linux/mutex.h>
#include <linux/scatterlist.h>
#include <linux/skbuff.h>
#include <linux/virtio.h>
#include <linux/virtio_vsock.h>
#include <linux/workqueue.h>

/* The header is one piece of its own, in front of the payload. */
#define HEADER_LEN	sizeof(struct virtio_vsock_hdr)

/* No host sends longer packets to a guest. */
#define MAX_RUN_SHIFT	16
#define MAX_RUN_ORDER	(MAX_RUN_SHIFT > PAGE_SHIFT ? \
			 MAX_RUN_SHIFT - PAGE_SHIFT : 0)

#define EVENT_BUFFERS	4

/*
 * What a device writes shares no cache line with anything else, or writing that
 * back could undo it where memory is not coherent for devices.
 */
#define DEVICE_WRITES	__aligned(ARCH_DMA_MINALIGN > SMP_CACHE_BYTES ? \
				  ARCH_DMA_MINALIGN : SMP_CACHE_BYTES)

/* What was short may be there again, what was refused be taken again. */
#define RETRY_DELAY	(HZ / 10)

/* Each is written by one context at a time: see counters.c. */
struct vvp_counters {
	u64 rx_packets;
	u64 rx_paged_packets;	/* whose payload stays in its pages */
	u64 rx_paged_bytes;
	u64 rx_copied_bytes;	/* of the other packets */
	u64 rx_dropped;		/* packets that do not fit what the device says */
	u64 rx_refused;		/* buffers that came back without a byte */
	u64 rx_shortages;	/* memory for a buffer was missing */
	u64 rx_short_runs;	/* runs of fewer pages than were wanted */
	u64 rx_pauses;		/* answers were piling up */
	u64 tx_packets;
	u64 tx_bytes;
	u64 tx_splits;		/* packets that were sent in parts */
	u64 transport_resets;
};

/* Under lock, but for the works themselves. */
struct vvp_receiver {
	struct mutex lock;
	struct virtqueue *vq;
	struct work_struct work;
	struct delayed_work refill;
	unsigned int order;	/* of new runs; falls when the device refuses */
	unsigned int posted;	/* buffers that the device has */
	size_t posted_bytes;
};

/* Under waiting.lock, which also guards the list. */
struct vvp_sender {
	struct sk_buff_head waiting;
	struct virtqueue *vq;
	unsigned int ring_size;
	struct delayed_work work;
	struct scatterlist pieces[MAX_SKB_FRAGS + 2];
	atomic_t answers;	/* of the list: what a peer can add to it */
};

struct vvp_event {
	struct virtio_vsock_event event;
} DEVICE_WRITES;

struct vvp_events {
	struct mutex lock;
	struct virtqueue *vq;
	struct work_struct work;
	struct vvp_event buffers[EVENT_BUFFERS];
};

struct vvp_device {
	struct virtio_device *vdev;
	u32 guest_cid;
	bool seqpacket;
	struct vvp_receiver rx;
	struct vvp_sender tx;
	struct vvp_events events;
	struct vvp_counters count;
};

/* parameters.c */
extern unsigned int vvp_order;		/* of a run's size in pages */
extern unsigned int vvp_copybreak;	/* the longest payload that is copied */
extern unsigned int vvp_ring_kib;	/* of runs that the device has */
extern bool vvp_split;
extern unsigned int vvp_fail_one_in;	/* allocations, for tests; 0: none */

/* transport.c */
extern struct virtio_transport vvp_transport;
extern struct workqueue_struct *vvp_workqueue;

/* Hands a packet to the code that all virtio transports share. */
static inline void vvp_deliver(struct sk_buff *skb)
{
#ifdef HAVE_VSOCK_NET
	/* A device belongs to no namespace: to the global one. */
	virtio_transport_recv_pkt(&vvp_transport, skb, NULL);
#else
	virtio_transport_recv_pkt(&vvp_transport, skb);
#endif
}

/* device.c */
extern struct virtio_driver vvp_driver;

/* Only between rcu_read_lock() and rcu_read_unlock(); NULL: no device. */
struct vvp_device *vvp_device_rcu(void);
/*
 * The device that calls; NULL before its queues are known and after it is gone.
 * It has nothing of ours to return then, so the call can be ignored.
 */
struct vvp_device *vvp_device_of(const struct virtqueue *vq);

/* receive.c */
void vvp_rx_init(struct vvp_device *device);
void vvp_rx_start(struct vvp_device *device);
/* Stops for good; twice does no harm. */
void vvp_rx_stop(struct vvp_device *device);
/* After the device was reset. */
void vvp_rx_free(struct vvp_device *device);
void vvp_rx_callback(struct virtqueue *vq);

/* send.c */
void vvp_tx_init(struct vvp_device *device);
void vvp_tx_stop(struct vvp_device *device);
void vvp_tx_free(struct vvp_device *device);
void vvp_tx_callback(struct virtqueue *vq);
#ifdef HAVE_VSOCK_NET
int vvp_send_pkt(struct sk_buff *skb, struct net *net);
#else
int vvp_send_pkt(struct sk_buff *skb);
#endif
int vvp_cancel_pkt(struct vsock_sock *vsk);
/* Are there as many answers as receiving may produce for now? */
bool vvp_too_many_answers(struct vvp_device *device);

/* split.c */
unsigned int vvp_pieces(const struct sk_buff *skb);
/* Moves the parts of the packet to the list; consumes it unless it fails. */
int vvp_split_packet(struct sk_buff *skb, struct sk_buff_head *parts);

/* counters.c */
extern const struct attribute_group *vvp_groups[];

#endif /* _VIRTIO_VSOCK_PAGES_H */
