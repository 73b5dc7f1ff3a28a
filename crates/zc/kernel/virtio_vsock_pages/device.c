// SPDX-License-Identifier: GPL-2.0
/*
 * A virtio device of the kind "socket" comes and goes.
 *
 * Senders find the device by an RCU pointer, and the queues' works run on a
 * workqueue. So it goes in this order:
 *
 *	no sender finds it any more	the pointer is NULL, a grace period ends
 *	no work runs or will run	so nothing connects a socket any more
 *	it is reset			and owns no memory of ours
 *	connected sockets are reset
 *	buffers and queues are freed
 *
 * Before a suspend it goes altogether, and afterwards it comes anew.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <net/sock.h>

#include "pages.h"

static struct vvp_device __rcu *the_device;
static DEFINE_MUTEX(the_device_lock);

struct vvp_device *vvp_device_rcu(void)
{
	return rcu_dereference(the_device);
}

struct vvp_device *vvp_device_of(const struct virtqueue *vq)
{
	struct vvp_device *device = vq->vdev->priv;

	return rcu_access_pointer(the_device) == device ? device : NULL;
}

static u32 read_cid(struct virtio_device *vdev)
{
	__le64 cid;

	virtio_cread_bytes(vdev, offsetof(struct virtio_vsock_config, guest_cid),
			   &cid, sizeof(cid));
	return le64_to_cpu(cid);
}

/* Called under a spinlock of vsock, which rules lock_sock() out. */
static void reset_socket(struct sock *sk)
{
	sk->sk_state = TCP_CLOSE;
	WRITE_ONCE(sk->sk_err, ECONNRESET);
	sk_error_report(sk);
}

static void reset_all_sockets(void)
{
	vsock_for_each_connected_socket(&vvp_transport.transport, reset_socket);
}

static void post_event(struct vvp_events *events,
		       struct vvp_event *buffer)
{
	struct scatterlist piece;

	sg_init_one(&piece, &buffer->event, sizeof(buffer->event));
	/* There are as many buffers as fit: it fails only on a broken queue. */
	virtqueue_add_inbuf(events->vq, &piece, 1, buffer, GFP_KERNEL);
}

/* The guest is somewhere else, or who it is has changed. */
static void take_event(struct vvp_device *device,
		       const struct virtio_vsock_event *event,
		       unsigned int used)
{
	if (used < sizeof(*event) ||
	    le32_to_cpu(event->id) != VIRTIO_VSOCK_EVENT_TRANSPORT_RESET)
		return;
	WRITE_ONCE(device->guest_cid, read_cid(device->vdev));
	device->count.transport_resets++;
	reset_all_sockets();
}

/* One round of the ring at most: a device that is never done is not either. */
static void event_work(struct work_struct *work)
{
	struct vvp_device *device =
		container_of(work, struct vvp_device, events.work);
	struct vvp_events *events = &device->events;
	struct vvp_event *buffer;
	unsigned int left, used;

	mutex_lock(&events->lock);
	virtqueue_disable_cb(events->vq);
	for (left = EVENT_BUFFERS; left; left--) {
		buffer = virtqueue_get_buf(events->vq, &used);
		if (!buffer)
			break;
		take_event(device, &buffer->event, used);
		post_event(events, buffer);
	}
	virtqueue_kick(events->vq);
	if (!left || !virtqueue_enable_cb(events->vq))
		queue_work(vvp_workqueue, work);
	mutex_unlock(&events->lock);
}

static void event_callback(struct virtqueue *vq)
{
	struct vvp_device *device = vvp_device_of(vq);

	if (device)
		queue_work(vvp_workqueue, &device->events.work);
}

static void start_events(struct vvp_events *events)
{
	unsigned int i;

	mutex_lock(&events->lock);
	for (i = 0; i < EVENT_BUFFERS && events->vq->num_free; i++)
		post_event(events, &events->buffers[i]);
	virtqueue_kick(events->vq);
	mutex_unlock(&events->lock);
}

static int find_queues(struct vvp_device *device)
{
	struct virtqueue_info infos[VSOCK_VQ_MAX] = {
		[VSOCK_VQ_RX]	 = { "rx", vvp_rx_callback },
		[VSOCK_VQ_TX]	 = { "tx", vvp_tx_callback },
		[VSOCK_VQ_EVENT] = { "event", event_callback },
	};
	struct virtqueue *queues[VSOCK_VQ_MAX];
	int err = virtio_find_vqs(device->vdev, VSOCK_VQ_MAX, queues, infos,
				  NULL);

	if (err)
		return err;
	device->rx.vq = queues[VSOCK_VQ_RX];
	device->tx.vq = queues[VSOCK_VQ_TX];
	device->tx.ring_size = virtqueue_get_vring_size(device->tx.vq);
	device->events.vq = queues[VSOCK_VQ_EVENT];
	return 0;
}

static struct vvp_device *new_device(struct virtio_device *vdev)
{
	struct vvp_device *device = kzalloc(sizeof(*device), GFP_KERNEL);

	if (!device)
		return NULL;
	device->vdev = vdev;
	device->seqpacket = virtio_has_feature(vdev, VIRTIO_VSOCK_F_SEQPACKET);
	device->guest_cid = read_cid(vdev);
	vvp_rx_init(device);
	vvp_tx_init(device);
	mutex_init(&device->events.lock);
	INIT_WORK(&device->events.work, event_work);
	return device;
}

static int come(struct virtio_device *vdev)
{
	struct vvp_device *device = new_device(vdev);
	int err;

	if (!device)
		return -ENOMEM;
	vdev->priv = device;
	err = find_queues(device);
	if (err) {
		vdev->priv = NULL;
		kfree(device);
		return err;
	}
	virtio_device_ready(vdev);
	/* What is received may have to be answered. */
	rcu_assign_pointer(the_device, device);
	start_events(&device->events);
	vvp_rx_start(device);
	return 0;
}

static void stop_works(struct vvp_device *device)
{
	vvp_rx_stop(device);
	vvp_tx_stop(device);
	disable_work_sync(&device->events.work);
}

static void go(struct virtio_device *vdev)
{
	struct vvp_device *device = vdev->priv;

	rcu_assign_pointer(the_device, NULL);
	synchronize_rcu();
	stop_works(device);
	virtio_reset_device(vdev);
	reset_all_sockets();
	vvp_rx_free(device);
	vvp_tx_free(device);
	while (virtqueue_detach_unused_buf(device->events.vq))
		;
	vdev->config->del_vqs(vdev);
	vdev->priv = NULL;
	kfree(device);
}

static int probe(struct virtio_device *vdev)
{
	int err = -EBUSY;

	mutex_lock(&the_device_lock);
	if (!rcu_access_pointer(the_device))
		err = come(vdev);
	else
		dev_err(&vdev->dev, "a guest has one vsock device\n");
	mutex_unlock(&the_device_lock);
	return err;
}

static void remove(struct virtio_device *vdev)
{
	mutex_lock(&the_device_lock);
	if (vdev->priv)
		go(vdev);
	mutex_unlock(&the_device_lock);
}

#ifdef CONFIG_PM_SLEEP
static int freeze(struct virtio_device *vdev)
{
	remove(vdev);
	return 0;
}

static int restore(struct virtio_device *vdev)
{
	return probe(vdev);
}
#endif

static const struct virtio_device_id ids[] = {
	{ VIRTIO_ID_VSOCK, VIRTIO_DEV_ANY_ID },
	{}
};

static const unsigned int features[] = {
	VIRTIO_VSOCK_F_SEQPACKET,
};

struct virtio_driver vvp_driver = {
	.driver.name		= KBUILD_MODNAME,
	.driver.owner		= THIS_MODULE,
	.driver.dev_groups	= vvp_groups,
	.feature_table		= features,
	.feature_table_size	= ARRAY_SIZE(features),
	.id_table		= ids,
	.probe			= probe,
	.remove			= remove,
#ifdef CONFIG_PM_SLEEP
	.freeze			= freeze,
	.restore		= restore,
#endif
};
