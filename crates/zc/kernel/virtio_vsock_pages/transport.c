// SPDX-License-Identifier: GPL-2.0
/*
 * A guest's vsock transport whose packets arrive in pages.
 *
 * The stock transport gives its device single pieces of kernel heap to receive
 * into, and nothing that lies there can be mapped into a process. This one gives
 * it runs of pages. It stands in for the stock transport: it drives the same
 * device (virtio specification 1.2, section 5.10), and connections, credit and
 * queues are left to the same code, vmw_vsock_virtio_transport_common.
 *
 * vsock has one transport for guests at a time, so the stock module must not be
 * loaded. This one has no alias of its own: it comes only where it is asked for.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/vm_sockets.h>

#include "pages.h"

struct workqueue_struct *vvp_workqueue;

static u32 get_local_cid(void)
{
	struct vvp_device *device;
	u32 cid = VMADDR_CID_ANY;

	rcu_read_lock();
	device = vvp_device_rcu();
	if (device)
		cid = READ_ONCE(device->guest_cid);
	rcu_read_unlock();
	return cid;
}

static bool has_seqpacket(void)
{
	struct vvp_device *device;
	bool has;

	rcu_read_lock();
	device = vvp_device_rcu();
	has = device && device->seqpacket;
	rcu_read_unlock();
	return has;
}

#ifdef HAVE_ALLOW_VSK
/* Sockets of a namespace that is local to itself do not reach the host. */
static bool stream_allow(struct vsock_sock *vsk, u32 cid, u32 port)
{
	return vsock_net_mode_global(vsk);
}

static bool seqpacket_allow(struct vsock_sock *vsk, u32 cid)
{
	return vsock_net_mode_global(vsk) && has_seqpacket();
}

static bool dgram_allow(struct vsock_sock *vsk, u32 cid, u32 port)
{
	return false;
}
#else
static bool stream_allow(u32 cid, u32 port)
{
	return true;
}

static bool seqpacket_allow(u32 cid)
{
	return has_seqpacket();
}

static bool dgram_allow(u32 cid, u32 port)
{
	return false;
}
#endif

#ifdef HAVE_REMOTE_CID
/* What lies beyond the host is the host's to know. */
static bool has_remote_cid(struct vsock_sock *vsk, u32 cid)
{
	return true;
}
#endif

static bool msgzerocopy_allow(void)
{
	/* Each page of the sender is a piece. */
	return !vvp_split;
}

/* A packet of more pieces than the ring has places would wait for ever. */
static bool can_msgzerocopy(int pieces)
{
	struct vvp_device *device;
	bool can;

	if (vvp_split)
		return false;
	rcu_read_lock();
	device = vvp_device_rcu();
	can = device && pieces < device->tx.ring_size;
	rcu_read_unlock();
	return can;
}

struct virtio_transport vvp_transport = {
	.transport = {
		.module			= THIS_MODULE,
		.get_local_cid		= get_local_cid,
		.cancel_pkt		= vvp_cancel_pkt,
		.stream_allow		= stream_allow,
		.seqpacket_allow	= seqpacket_allow,
		.dgram_allow		= dgram_allow,
		.msgzerocopy_allow	= msgzerocopy_allow,
#ifdef HAVE_REMOTE_CID
		.has_remote_cid		= has_remote_cid,
#endif

		/* All else is common to virtio transports. */
		.init			= virtio_transport_do_socket_init,
		.destruct		= virtio_transport_destruct,
		.release		= virtio_transport_release,
		.connect		= virtio_transport_connect,
		.shutdown		= virtio_transport_shutdown,
		.dgram_bind		= virtio_transport_dgram_bind,
		.dgram_enqueue		= virtio_transport_dgram_enqueue,
		.dgram_dequeue		= virtio_transport_dgram_dequeue,
		.stream_enqueue		= virtio_transport_stream_enqueue,
		.stream_dequeue		= virtio_transport_stream_dequeue,
		.stream_has_data	= virtio_transport_stream_has_data,
		.stream_has_space	= virtio_transport_stream_has_space,
		.stream_rcvhiwat	= virtio_transport_stream_rcvhiwat,
		.stream_is_active	= virtio_transport_stream_is_active,
		.seqpacket_enqueue	= virtio_transport_seqpacket_enqueue,
		.seqpacket_dequeue	= virtio_transport_seqpacket_dequeue,
		.seqpacket_has_data	= virtio_transport_seqpacket_has_data,
		.notify_buffer_size	= virtio_transport_notify_buffer_size,
		.notify_poll_in		= virtio_transport_notify_poll_in,
		.notify_poll_out	= virtio_transport_notify_poll_out,
		.notify_recv_init	= virtio_transport_notify_recv_init,
		.notify_recv_pre_block	= virtio_transport_notify_recv_pre_block,
		.notify_recv_pre_dequeue = virtio_transport_notify_recv_pre_dequeue,
		.notify_recv_post_dequeue = virtio_transport_notify_recv_post_dequeue,
		.notify_send_init	= virtio_transport_notify_send_init,
		.notify_send_pre_block	= virtio_transport_notify_send_pre_block,
		.notify_send_pre_enqueue = virtio_transport_notify_send_pre_enqueue,
		.notify_send_post_enqueue = virtio_transport_notify_send_post_enqueue,
		.notify_set_rcvlowat	= virtio_transport_notify_set_rcvlowat,
		.unsent_bytes		= virtio_transport_unsent_bytes,
		.read_skb		= virtio_transport_read_skb,
	},
	.send_pkt = vvp_send_pkt,
	.can_msgzerocopy = can_msgzerocopy,
};

static int __init vvp_init(void)
{
	int err;

	vvp_workqueue = alloc_workqueue("virtio_vsock_pages", WQ_UNBOUND, 0);
	if (!vvp_workqueue)
		return -ENOMEM;
	err = vsock_core_register(&vvp_transport.transport,
				  VSOCK_TRANSPORT_F_G2H);
	if (err) {
		pr_err("%s (error %d)\n", err == -EBUSY ?
		       "another transport for guests is loaded: rmmod vmw_vsock_virtio_transport" :
		       "vsock takes no transport", err);
		goto no_transport;
	}
	err = register_virtio_driver(&vvp_driver);
	if (err)
		goto no_driver;
	return 0;

no_driver:
	vsock_core_unregister(&vvp_transport.transport);
no_transport:
	destroy_workqueue(vvp_workqueue);
	return err;
}

static void __exit vvp_exit(void)
{
	unregister_virtio_driver(&vvp_driver);
	vsock_core_unregister(&vvp_transport.transport);
	destroy_workqueue(vvp_workqueue);
}

module_init(vvp_init);
module_exit(vvp_exit);

MODULE_DESCRIPTION("A vsock transport for guests that receives into pages");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.2.0");
