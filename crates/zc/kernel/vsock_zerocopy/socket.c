// SPDX-License-Identifier: GPL-2.0
/*
 * Makes a vsock stream answer the calls of vsock_zerocopy.h.
 *
 * A socket opts in: the ioctl of /dev/vsock-zerocopy swaps its table of
 * operations for a copy in which mmap, the socket options and release lead
 * here. No other socket of the system is touched, and whatever the copy does
 * not change is the stock implementation.
 *
 * The stock table is private to the module vsock, but each of its stream
 * sockets points to it: one is made for a moment when this module is loaded.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/virtio_vsock.h>
#include <net/sock.h>

#include "internal.h"

/* The table of all vsock streams, and the one that attached streams have. */
static const struct proto_ops *stock __ro_after_init;
static struct proto_ops attached __ro_after_init;

/* An attached socket's state, under lock_sock() or for an open file. */
static struct vsock_zc *zc_of(const struct sock *sk)
{
	return rcu_dereference_protected(__sk_user_data(sk), true);
}

/*
 * sk_user_data is the kernel's place for a socket's second owner. A sockmap
 * wants it too, and would move packets away while they are being mapped: it
 * stays off while this is set.
 */
static int set_owner(struct sock *sk, struct vsock_zc *zc)
{
	int err = 0;

	write_lock_bh(&sk->sk_callback_lock);
	if (zc && zc_of(sk))
		err = -EBUSY;
	else
		rcu_assign_sk_user_data(sk, zc);
	write_unlock_bh(&sk->sk_callback_lock);
	return err;
}

/*
 * Of an unknown socket nothing is known but its operations: not even its lock
 * may be taken, which another family may hold for as long as its user likes.
 */
static int check_kind(const struct socket *sock)
{
	const struct proto_ops *ops = READ_ONCE(sock->ops);

	if (ops == &attached)
		return -EALREADY;
	return ops == stock ? 0 : -EOPNOTSUPP;
}

static int attach_locked(struct socket *sock, struct vsock_zc *zc)
{
	struct vsock_sock *vsk = vsock_sk(sock->sk);
	int err;

	err = check_kind(sock);
	if (err)
		return err;
	if (!vsk->transport || sock->sk->sk_state != TCP_ESTABLISHED)
		return -ENOTCONN;
	if (!vsock_zc_transport_fits(vsk))
		return -EOPNOTSUPP;

	err = set_owner(sock->sk, zc);
	if (err)
		return err;
	/* The one on the stock module goes with the socket: see release. */
	__module_get(THIS_MODULE);
	/* Who sees the operations, as mmap() does without a lock, sees zc. */
	smp_store_release(&sock->ops, &attached);
	return 0;
}

static void zc_free(struct vsock_zc *zc)
{
	vsock_zc_ledger_free(&zc->ledger);
	kfree(zc);
}

static struct vsock_zc *zc_new(struct socket *sock)
{
	struct vsock_zc *zc = kzalloc(sizeof(*zc), GFP_KERNEL_ACCOUNT);

	if (zc && vsock_zc_ledger_init(&zc->ledger, SOCK_INODE(sock)->i_uid)) {
		kfree(zc);
		zc = NULL;
	}
	return zc;
}

static int attach_to(struct socket *sock)
{
	struct vsock_zc *zc;
	int err;

	err = check_kind(sock);
	if (err)
		return err;
	zc = zc_new(sock);
	if (!zc)
		return -ENOMEM;

	lock_sock(sock->sk);
	err = attach_locked(sock, zc);
	release_sock(sock->sk);
	if (err)
		zc_free(zc);
	return err;
}

static int attach(int fd)
{
	struct socket *sock;
	int err;

	sock = sockfd_lookup(fd, &err);
	if (!sock)
		return err;
	err = attach_to(sock);
	sockfd_put(sock);
	return err;
}

static int zc_release(struct socket *sock)
{
	struct sock *sk = sock->sk;
	struct vsock_zc *zc;
	int err;

	/*
	 * accept() gives a new socket the operations of the listener, before it
	 * finds out that they do not accept, and releases that socket.
	 */
	if (!sk)
		return 0;

	zc = zc_of(sk);
	set_owner(sk, NULL);
	err = stock->release(sock);
	if (zc)
		zc_free(zc);

	/*
	 * The caller drops a reference on the owner of the operations, which
	 * pays for the one of attach; the one that came with the stock
	 * operations when the socket was made is left.
	 */
	module_put(stock->owner);
	return err;
}

static int zc_mmap(struct file *file, struct socket *sock,
		   struct vm_area_struct *vma)
{
	/* The caller has the mmap lock: too late for lock_sock(). */
	struct vsock_zc *zc = zc_of(sock->sk);

	return zc ? vsock_zc_map(zc, vma) : -EOPNOTSUPP;
}

static int zc_setsockopt(struct socket *sock, int level, int optname,
			 sockptr_t optval, unsigned int optlen)
{
	struct sock *sk = sock->sk;
	int value;

	if (level != AF_VSOCK || optname != SO_VM_SOCKETS_ZEROCOPY)
		return stock->setsockopt(sock, level, optname, optval, optlen);

	if (optlen != sizeof(value))
		return -EINVAL;
	if (copy_from_sockptr(&value, optval, sizeof(value)))
		return -EFAULT;
	if (value != 0 && value != 1)
		return -EINVAL;

	lock_sock(sk);
	WRITE_ONCE(zc_of(sk)->enabled, value);
	release_sock(sk);
	return 0;
}

/*
 * Whatever can fail is done before anything is received, also writing the
 * length back.
 */
static int receive(struct sock *sk, const void __user *optval,
		   int __user *optlen, int len)
{
	unsigned long addr;
	int err;

	if (len != sizeof(addr))
		return -EINVAL;
	if (copy_from_user(&addr, optval, sizeof(addr)) ||
	    put_user(len, optlen))
		return -EFAULT;

	lock_sock(sk);
	err = vsock_zc_receive(zc_of(sk), vsock_sk(sk), addr);
	release_sock(sk);
	return err;
}

/* A longer buffer is no harm: optlen says how much of it was filled. */
static int answer(void __user *optval, int __user *optlen, int room,
		  const void *value, int len)
{
	if (room < len)
		return -EINVAL;
	if (copy_to_user(optval, value, len) || put_user(len, optlen))
		return -EFAULT;
	return 0;
}

static int stock_getsockopt(struct socket *sock, int level, int optname,
			    char __user *optval, int __user *optlen)
{
#ifdef HAVE_SOCKOPT_T
	if (stock->getsockopt_iter) {
		sockopt_t opt;
		int err;

		if (get_user(opt.optlen, optlen))
			return -EFAULT;
		if (opt.optlen < 0)
			return -EINVAL;
		iov_iter_ubuf(&opt.iter_in, ITER_SOURCE, optval, opt.optlen);
		iov_iter_ubuf(&opt.iter_out, ITER_DEST, optval, opt.optlen);
		err = stock->getsockopt_iter(sock, level, optname, &opt);
		/* As the kernel does for sockets that have only this one. */
		return put_user(opt.optlen, optlen) ? -EFAULT : err;
	}
#endif
	return stock->getsockopt(sock, level, optname, optval, optlen);
}

static int zc_getsockopt(struct socket *sock, int level, int optname,
			 char __user *optval, int __user *optlen)
{
	struct sock *sk = sock->sk;
	struct vsock_zerocopy_stats stats;
	int enabled, len;

	if (level != AF_VSOCK || (optname != SO_VM_SOCKETS_MAP_RX &&
				  optname != SO_VM_SOCKETS_ZEROCOPY &&
				  optname != SO_VM_SOCKETS_ZEROCOPY_STATS))
		return stock_getsockopt(sock, level, optname, optval, optlen);

	if (get_user(len, optlen))
		return -EFAULT;
	if (len < 0)
		return -EINVAL;
	if (optname == SO_VM_SOCKETS_MAP_RX)
		return receive(sk, optval, optlen, len);

	lock_sock(sk);
	enabled = zc_of(sk)->enabled;
	stats = zc_of(sk)->stats;
	release_sock(sk);

	if (optname == SO_VM_SOCKETS_ZEROCOPY_STATS)
		return answer(optval, optlen, len, &stats, sizeof(stats));
	return answer(optval, optlen, len, &enabled, sizeof(enabled));
}

static void __init build_attached(void)
{
	attached = *stock;
	attached.owner = THIS_MODULE;
	attached.release = zc_release;
	attached.mmap = zc_mmap;
	attached.setsockopt = zc_setsockopt;
	/*
	 * Of the two kinds of getsockopt() only the older one sees where the
	 * length is to be written, and can fail before it receives.
	 */
	attached.getsockopt = zc_getsockopt;
#ifdef HAVE_SOCKOPT_T
	attached.getsockopt_iter = NULL;
#endif
	/* A connected socket does neither; a copy of our table must not. */
	attached.listen = sock_no_listen;
	attached.accept = sock_no_accept;
}

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (cmd != VSOCK_ZEROCOPY_ATTACH)
		return -ENOTTY;
	return arg > INT_MAX ? -EBADF : attach(arg);
}

static const struct file_operations device_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= device_ioctl,
};

static struct miscdevice device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "vsock-zerocopy",
	.fops	= &device_fops,
	.mode	= 0600,
};

static int __init vsock_zc_init(void)
{
	struct socket *sock;
	int err;

	err = sock_create_kern(&init_net, AF_VSOCK, SOCK_STREAM, 0, &sock);
	if (err) {
		pr_err("no vsock streams here: error %d\n", err);
		return err;
	}
	/* It stays where it is: this module needs symbols of vsock. */
	stock = sock->ops;
	sock_release(sock);

	build_attached();
	return misc_register(&device);
}

static void __exit vsock_zc_exit(void)
{
	misc_deregister(&device);
}

module_init(vsock_zc_init);
module_exit(vsock_zc_exit);

MODULE_DESCRIPTION("Receiving from vsock streams without copying");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.2.0");
