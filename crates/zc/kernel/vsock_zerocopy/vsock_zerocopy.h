/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Receiving from a vsock stream without copying: the contract between the
 * module vsock_zerocopy and the programs that use it.
 *
 *	device = open(VSOCK_ZEROCOPY_DEVICE, O_RDWR | O_CLOEXEC);
 *	ioctl(device, VSOCK_ZEROCOPY_ATTACH, socket);
 *	close(device);
 *
 *	setsockopt(socket, AF_VSOCK, SO_VM_SOCKETS_ZEROCOPY, &one, sizeof(one));
 *	size = pages * sysconf(_SC_PAGESIZE);
 *	map = mmap(NULL, size, PROT_READ, MAP_SHARED, socket, 0);
 *
 *	while (poll(&readable, 1, timeout) > 0) {
 *		address = (unsigned long)map;
 *		length = sizeof(address);
 *		getsockopt(socket, AF_VSOCK, SO_VM_SOCKETS_MAP_RX,
 *			   &address, &length);
 *		... use the packets, none of which means end of stream ...
 *		madvise(map, size, MADV_DONTNEED);
 *	}
 *
 * The first page of the mapping holds an array of struct vsock_zerocopy_packet
 * that ends with a packet of no bytes. The bytes of the first packet begin at
 * the second page, those of each other packet at the next page boundary after
 * the packet before it. What lies between the end of a packet and the end of
 * its last page is zero.
 */
#ifndef _UAPI_VSOCK_ZEROCOPY_H
#define _UAPI_VSOCK_ZEROCOPY_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define VSOCK_ZEROCOPY_DEVICE	"/dev/vsock-zerocopy"

/*
 * The argument is the descriptor of a connected vsock stream, which has the
 * options below, and mmap(), from now on and until it is closed.
 *
 *	EBADF, ENOTSOCK	not a descriptor, not a socket
 *	EOPNOTSUPP	not a vsock stream, or not over a virtio transport
 *	ENOTCONN	not connected
 *	EALREADY	attached before
 *	EBUSY		a BPF sockmap or another user of the kernel has it
 *	ENOMEM
 */
#define VSOCK_ZEROCOPY_ATTACH	_IO(0xBA, 0x90)

/*
 * Options of an attached socket, at level AF_VSOCK. Any other socket answers
 * ENOPROTOOPT to them, and ENODEV to mmap().
 */

/*
 * getsockopt(), unsigned long: receives what fits into the mapping that begins
 * at this address. It never blocks; poll() says when there is something.
 *
 *	0		a list of packets; an empty list is the end of stream
 *	EAGAIN		nothing has been received
 *	EBUSY		pages of the last call have not been given back
 *	EINVAL		no mapping of this socket begins at the address
 *	EOPNOTSUPP	SO_VM_SOCKETS_ZEROCOPY is off
 *	ENOTCONN, ENOMEM, EFAULT, EINTR, or the socket's pending error
 *
 * A call that fails receives nothing: what was queued is still queued. It may
 * leave pages in the mapping, so the mapping is given back before the next
 * call, except after EAGAIN.
 */
#define SO_VM_SOCKETS_MAP_RX		9

/* setsockopt() and getsockopt(), int: 1 is on, 0, as at first, is off. */
#define SO_VM_SOCKETS_ZEROCOPY		10

/* getsockopt(), struct vsock_zerocopy_stats. */
#define SO_VM_SOCKETS_ZEROCOPY_STATS	11

/* At least one page of the packet is a copy. */
#define VSOCK_ZEROCOPY_COPIED		1
/* The mapping or the call is full; the next call has the rest of the packet. */
#define VSOCK_ZEROCOPY_CONTINUES	2

/* As many packets are in one list at most; one page holds them and the end. */
#define VSOCK_ZEROCOPY_MAX_PACKETS	511
/* As many pages does one call receive at most, however large the mapping. */
#define VSOCK_ZEROCOPY_MAX_PAGES	2048

struct vsock_zerocopy_packet {
	__u32 len;		/* in bytes; 0 ends the list */
	__u32 flags;		/* VSOCK_ZEROCOPY_COPIED, _CONTINUES */
};

/* What SO_VM_SOCKETS_MAP_RX did for this socket so far. */
struct vsock_zerocopy_stats {
	__u64 calls;		/* that received something */
	__u64 packets;		/* listed; one that continues counts again */
	__u64 mapped_bytes;	/* in the pages that the sender filled */
	__u64 copied_bytes;	/* in pages of their own */
};

#endif /* _UAPI_VSOCK_ZEROCOPY_H */
