// SPDX-License-Identifier: GPL-2.0
/*
 * The tx queue.
 *
 * A packet is put on a list, and as many as the ring has places for go from the
 * list to the device. Packets are sent with a socket's lock held, also while
 * one is being received: nothing here sleeps or waits for the receiver. The lock
 * of the list guards all of the sender, as the common code takes it too, to
 * cancel what a socket has on the list.
 */

#include <linux/rcupdate.h>
#include <linux/virtio_config.h>
#include <net/sock.h>

#include "pages.h"

bool vvp_too_many_answers(struct vvp_device *device)
{
	return atomic_read(&device->tx.answers) >= device->tx.ring_size;
}

/* Some have left the list. The receiver may have been waiting for that. */
static void answers_left(struct vvp_device *device, int number)
{
	int limit = device->tx.ring_size;
	int now;

	if (!number)
		return;
	now = atomic_sub_return(number, &device->tx.answers);
	if (now < limit && now + number >= limit)
		queue_work(vvp_workqueue, &device->rx.work);
}

/* Header, linear payload if any, fragments. */
static unsigned int fill_pieces(struct scatterlist *pieces,
				struct sk_buff *skb)
{
	const struct skb_shared_info *info = skb_shinfo(skb);
	unsigned int number = vvp_pieces(skb), at = 0;
	int i;

	sg_init_table(pieces, number);
	sg_set_buf(&pieces[at++], virtio_vsock_hdr(skb), HEADER_LEN);
	if (skb_headlen(skb))
		sg_set_buf(&pieces[at++], skb->data, skb_headlen(skb));
	for (i = 0; i < info->nr_frags; i++) {
		const skb_frag_t *frag = &info->frags[i];

		sg_set_page(&pieces[at++], skb_frag_page(frag),
			    skb_frag_size(frag), skb_frag_off(frag));
	}
	return number;
}

/*
 * From the list to the device; returns how many answers were among them. Once
 * the device has a packet it may come back at any time.
 */
static int push(struct vvp_device *device)
{
	struct vvp_sender *tx = &device->tx;
	struct sk_buff *skb;
	int answers = 0, err;

	while ((skb = skb_peek(&tx->waiting))) {
		bool answer = virtio_vsock_skb_reply(skb);
		u32 len = skb->len;
		unsigned int number = fill_pieces(tx->pieces, skb);

		__skb_unlink(skb, &tx->waiting);
		err = virtqueue_add_outbuf(tx->vq, tx->pieces, number, skb,
					   GFP_ATOMIC);
		if (err) {
			__skb_queue_head(&tx->waiting, skb);
			/* For a place in the ring the device calls. */
			if (err != -ENOSPC)
				queue_delayed_work(vvp_workqueue, &tx->work,
						   RETRY_DELAY);
			break;
		}
		device->count.tx_packets++;
		device->count.tx_bytes += len;
		answers += answer;
	}
	return answers;
}

static void send(struct vvp_device *device, struct sk_buff_head *packets)
{
	struct vvp_sender *tx = &device->tx;
	bool notify;
	int answers;

	spin_lock_bh(&tx->waiting.lock);
	device->count.tx_splits += skb_queue_len(packets) > 1;
	skb_queue_splice_tail_init(packets, &tx->waiting);
	answers = push(device);
	notify = virtqueue_kick_prepare(tx->vq);
	spin_unlock_bh(&tx->waiting.lock);

	if (notify)
		virtqueue_notify(tx->vq);
	answers_left(device, answers);
}

/* What the device has sent is given back, and more is sent. */
static void tx_work(struct work_struct *work)
{
	struct vvp_device *device =
		container_of(to_delayed_work(work), struct vvp_device, tx.work);
	struct vvp_sender *tx = &device->tx;
	struct sk_buff_head sent;
	struct sk_buff *skb;
	unsigned int used;
	bool notify;
	int answers = 0;

	__skb_queue_head_init(&sent);
	spin_lock_bh(&tx->waiting.lock);
	do {
		virtqueue_disable_cb(tx->vq);
		while ((skb = virtqueue_get_buf(tx->vq, &used)))
			__skb_queue_tail(&sent, skb);
		answers += push(device);
	} while (!virtqueue_enable_cb(tx->vq));
	notify = virtqueue_kick_prepare(tx->vq);
	spin_unlock_bh(&tx->waiting.lock);

	if (notify)
		virtqueue_notify(tx->vq);
	answers_left(device, answers);
	while ((skb = __skb_dequeue(&sent)))
		virtio_transport_consume_skb_sent(skb, true);
}

void vvp_tx_callback(struct virtqueue *vq)
{
	struct vvp_device *device = vvp_device_of(vq);

	/* At once, also when a later attempt is scheduled. */
	if (device)
		mod_delayed_work(vvp_workqueue, &device->tx.work, 0);
}

static bool must_split(const struct vvp_device *device, struct sk_buff *skb)
{
	unsigned int pieces = vvp_pieces(skb);

	/* The pages of a MSG_ZEROCOPY sender were counted before. */
	if (skb_zcopy(skb))
		return false;
	return pieces > device->tx.ring_size || (vvp_split && pieces > 2);
}

static int send_through(struct vvp_device *device, struct sk_buff *skb)
{
	struct sk_buff_head packets;
	bool answer;
	int err;

	/* The host does not send a guest's packets back to it. */
	if (le64_to_cpu(virtio_vsock_hdr(skb)->dst_cid) ==
	    READ_ONCE(device->guest_cid))
		return -ENODEV;

	__skb_queue_head_init(&packets);
	/*
	 * A peer can ask for its credit again and again. The common code, which
	 * also takes packets from the list, counts what has this mark.
	 */
	if (le16_to_cpu(virtio_vsock_hdr(skb)->op) ==
	    VIRTIO_VSOCK_OP_CREDIT_UPDATE)
		virtio_vsock_skb_set_reply(skb);
	answer = virtio_vsock_skb_reply(skb);
	virtio_transport_deliver_tap_pkt(skb);
	if (must_split(device, skb)) {
		err = vvp_split_packet(skb, &packets);
		if (err)
			return err;
	} else {
		__skb_queue_tail(&packets, skb);
	}
	if (answer)
		atomic_inc(&device->tx.answers);
	send(device, &packets);
	return 0;
}

#ifdef HAVE_VSOCK_NET
int vvp_send_pkt(struct sk_buff *skb, struct net *net)
#else
int vvp_send_pkt(struct sk_buff *skb)
#endif
{
	struct vvp_device *device;
	int len = skb->len, err = -ENODEV;

	rcu_read_lock();
	device = vvp_device_rcu();
	if (device)
		err = send_through(device, skb);
	rcu_read_unlock();
	if (err) {
		kfree_skb(skb);
		return err;
	}
	return len;
}

int vvp_cancel_pkt(struct vsock_sock *vsk)
{
	struct vvp_device *device;
	int err = -ENODEV;

	rcu_read_lock();
	device = vvp_device_rcu();
	if (device) {
		int answers = virtio_transport_purge_skbs(vsk,
							  &device->tx.waiting);

		answers_left(device, answers);
		err = 0;
	}
	rcu_read_unlock();
	return err;
}

void vvp_tx_init(struct vvp_device *device)
{
	skb_queue_head_init(&device->tx.waiting);
	INIT_DELAYED_WORK(&device->tx.work, tx_work);
}

void vvp_tx_stop(struct vvp_device *device)
{
	disable_delayed_work_sync(&device->tx.work);
}

/* What was never sent counts as sent, or its socket would wait for it. */
void vvp_tx_free(struct vvp_device *device)
{
	struct sk_buff *skb;

	while ((skb = virtqueue_detach_unused_buf(device->tx.vq)))
		virtio_transport_consume_skb_sent(skb, true);
	while ((skb = skb_dequeue(&device->tx.waiting)))
		virtio_transport_consume_skb_sent(skb, true);
}
