/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest of this machine's vhost_vsock, without a virtual machine: this process
 * sets up the device's rings in its own memory and speaks for the guest.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_vsock.h>

#define GUEST_CID	77
#define GUEST_PORT	1024	/* where its one connection comes from */
#define HOST_CID	2

struct guest {
	int device;
	uint8_t *memory;	/* also the address that the device knows it by */
	struct vring rx, tx;
	int rx_kick, rx_call, tx_kick, tx_call;
	uint16_t rx_seen, tx_seen;
	int rx_held;		/* the buffer last received, or -1 */
	uint16_t type;		/* VIRTIO_VSOCK_TYPE_... of its connection */
	uint32_t host_port;
	uint32_t taken;		/* bytes that it has received */
	uint8_t *header, *payload;	/* of what it sends */
};

/* Opens the device and starts it, for a connection of this type. */
void guest_open(struct guest *guest, uint16_t type);
void guest_close(struct guest *guest);

/*
 * Sends a packet whose header says len, and in whose payload there are chain
 * bytes, in pieces of that size. Waits until the device has taken it.
 */
void guest_send(struct guest *guest, uint16_t op, uint32_t len, uint32_t chain,
		uint32_t piece);
/* A packet of payload with flags, in one piece. */
void guest_send_flags(struct guest *guest, uint32_t len, uint32_t flags);

/* The next packet that the host sends, which must come. */
struct virtio_vsock_hdr guest_recv(struct guest *guest);

/*
 * Receives len bytes of payload; returns whether they are those from offset on,
 * and whether the mark of a message's end is on the last packet alone if it is to
 * be there at all.
 */
bool guest_takes(struct guest *guest, uint64_t offset, size_t len, bool marked);

/* Connects to the host; returns the host's end. */
int guest_connect(struct guest *guest);

#endif /* GUEST_H */
