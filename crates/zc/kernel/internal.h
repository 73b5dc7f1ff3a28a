/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the two halves of vsock_zerocopy share: socket.c makes a socket answer
 * the calls, receive.c moves pages from its queue into a mapping.
 */
#ifndef _VSOCK_ZEROCOPY_INTERNAL_H
#define _VSOCK_ZEROCOPY_INTERNAL_H

#include <linux/net.h>
#include <linux/uio.h>
#include <net/af_vsock.h>

#include "vsock_zerocopy.h"

/*
 * An attached socket's own state. It lives from the ioctl until the socket is
 * released. A mapping holds the socket's file, so no mapping outlives it.
 */
struct vsock_zc {
	bool enabled;	/* written under lock_sock(), read without */
	struct vsock_zerocopy_stats stats;	/* under lock_sock() */
};

/* Does its transport keep received packets as the virtio transports do? */
bool vsock_zc_transport_fits(const struct vsock_sock *vsk);

int vsock_zc_map(struct vsock_zc *zc, struct vm_area_struct *vma);

/* The caller holds lock_sock(). */
int vsock_zc_receive(struct vsock_zc *zc, struct vsock_sock *vsk,
		     unsigned long addr);

/*
 * Kernels up to 6.x hand the two user pointers of getsockopt() to the protocol;
 * later ones this pair of iterators.
 */
#ifndef HAVE_SOCKOPT_T
typedef struct {
	struct iov_iter iter_in;
	struct iov_iter iter_out;
	int optlen;
} sockopt_t;
#endif

#endif /* _VSOCK_ZEROCOPY_INTERNAL_H */
