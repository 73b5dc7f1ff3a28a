// SPDX-License-Identifier: GPL-2.0

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/vm_sockets.h>

#include "guest.h"
#include "stream.h"
#include "tap.h"

#define RING		64
#define MEMORY		(2UL << 20)
#define RX_BUFFER	(64 + 4096)	/* the header and a page */
#define PAYLOAD_MOST	(256UL << 10)
#define HEADER		sizeof(struct virtio_vsock_hdr)

/* Where things lie in the guest's memory. */
#define RX_RING_AT	0UL
#define TX_RING_AT	(16UL << 10)
#define HEADER_AT	(32UL << 10)
#define RX_AT		(64UL << 10)
#define PAYLOAD_AT	(1UL << 20)

static int make_event(void)
{
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	need(event >= 0);
	return event;
}

static void signal_event(int event)
{
	uint64_t one = 1;

	need(write(event, &one, sizeof(one)) == sizeof(one));
}

static void clear_event(int event)
{
	uint64_t count;

	(void)!read(event, &count, sizeof(count));
}

static void set_up_ring(struct guest *guest, unsigned int index,
			struct vring *ring, unsigned long at, int kick, int call)
{
	struct vhost_vring_state state = { .index = index, .num = RING };
	struct vhost_vring_file file = { .index = index };
	struct vhost_vring_addr address = { .index = index };

	vring_init(ring, RING, guest->memory + at, 64);
	need(!ioctl(guest->device, VHOST_SET_VRING_NUM, &state));
	state.num = 0;
	need(!ioctl(guest->device, VHOST_SET_VRING_BASE, &state));
	address.desc_user_addr = (uintptr_t)ring->desc;
	address.avail_user_addr = (uintptr_t)ring->avail;
	address.used_user_addr = (uintptr_t)ring->used;
	need(!ioctl(guest->device, VHOST_SET_VRING_ADDR, &address));
	file.fd = kick;
	need(!ioctl(guest->device, VHOST_SET_VRING_KICK, &file));
	file.fd = call;
	need(!ioctl(guest->device, VHOST_SET_VRING_CALL, &file));
}

static void share_memory(struct guest *guest)
{
	struct vhost_memory *table =
		calloc(1, sizeof(*table) + sizeof(table->regions[0]));

	need(table);
	table->nregions = 1;
	table->regions[0].guest_phys_addr = (uintptr_t)guest->memory;
	table->regions[0].userspace_addr = (uintptr_t)guest->memory;
	table->regions[0].memory_size = MEMORY;
	need(!ioctl(guest->device, VHOST_SET_MEM_TABLE, table));
	free(table);
}

/* Gives a descriptor to the device: it begins a chain. */
static void offer(struct vring *ring, uint16_t descriptor)
{
	ring->avail->ring[ring->avail->idx % RING] = descriptor;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	ring->avail->idx++;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void offer_rx(struct guest *guest, uint16_t descriptor)
{
	guest->rx.desc[descriptor] = (struct vring_desc) {
		.addr = (uintptr_t)guest->memory + RX_AT + descriptor * RX_BUFFER,
		.len = HEADER + 4096,
		.flags = VRING_DESC_F_WRITE,
	};
	offer(&guest->rx, descriptor);
	signal_event(guest->rx_kick);
}

/* Waits until the device is done with one more. */
static struct vring_used_elem done_with(struct vring *ring, uint16_t *seen,
					int call)
{
	for (int tries = 0; tries < PATIENCE; tries++) {
		uint16_t now = __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE);

		if (now != *seen)
			return ring->used->ring[(*seen)++ % RING];
		ready(call, POLLIN, 1);
		clear_event(call);
	}
	need(!"the device answers");
	exit(2);
}

void guest_open(struct guest *guest, uint16_t type)
{
	uint64_t features = 1ULL << VIRTIO_F_VERSION_1 |
			    1ULL << VIRTIO_VSOCK_F_SEQPACKET;
	uint64_t cid = GUEST_CID;
	int running = 1;

	*guest = (struct guest) {
		.device = open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC),
		.rx_kick = make_event(), .rx_call = make_event(),
		.tx_kick = make_event(), .tx_call = make_event(),
		.rx_held = -1, .type = type,
	};
	need(guest->device >= 0);
	guest->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(guest->memory != MAP_FAILED);
	guest->header = guest->memory + HEADER_AT;
	guest->payload = guest->memory + PAYLOAD_AT;

	need(!ioctl(guest->device, VHOST_SET_OWNER));
	need(!ioctl(guest->device, VHOST_SET_FEATURES, &features));
	share_memory(guest);
	set_up_ring(guest, 0, &guest->rx, RX_RING_AT, guest->rx_kick, guest->rx_call);
	set_up_ring(guest, 1, &guest->tx, TX_RING_AT, guest->tx_kick, guest->tx_call);
	need(!ioctl(guest->device, VHOST_VSOCK_SET_GUEST_CID, &cid));
	need(!ioctl(guest->device, VHOST_VSOCK_SET_RUNNING, &running));
	for (uint16_t i = 0; i < RING; i++)
		offer_rx(guest, i);
}

void guest_close(struct guest *guest)
{
	close(guest->device);
	close(guest->rx_kick);
	close(guest->rx_call);
	close(guest->tx_kick);
	close(guest->tx_call);
	need(!munmap(guest->memory, MEMORY));
}

static void send_packet(struct guest *guest, uint16_t op, uint32_t flags,
			uint32_t len, uint32_t chain, uint32_t piece)
{
	struct vring_desc *desc = guest->tx.desc;
	struct virtio_vsock_hdr header = {
		.src_cid = htole64(GUEST_CID), .dst_cid = htole64(HOST_CID),
		.src_port = htole32(GUEST_PORT), .dst_port = htole32(guest->host_port),
		.len = htole32(len), .type = htole16(guest->type),
		.op = htole16(op), .flags = htole32(flags), .buf_alloc = htole32(1 << 20), .fwd_cnt = htole32(guest->taken),
	};
	uint16_t last = 0;

	need(chain <= PAYLOAD_MOST);
	memcpy(guest->header, &header, sizeof(header));
	desc[0] = (struct vring_desc) {
		.addr = (uintptr_t)guest->header, .len = HEADER,
	};
	for (uint32_t at = 0; at < chain; at += piece) {
		desc[last].flags = VRING_DESC_F_NEXT;
		desc[last].next = last + 1;
		desc[++last] = (struct vring_desc) {
			.addr = (uintptr_t)guest->payload + at,
			.len = chain - at < piece ? chain - at : piece,
		};
	}
	offer(&guest->tx, 0);
	signal_event(guest->tx_kick);
	done_with(&guest->tx, &guest->tx_seen, guest->tx_call);
}

void guest_send(struct guest *guest, uint16_t op, uint32_t len, uint32_t chain,
		uint32_t piece)
{
	send_packet(guest, op, 0, len, chain, piece);
}

void guest_send_flags(struct guest *guest, uint32_t len, uint32_t flags)
{
	send_packet(guest, VIRTIO_VSOCK_OP_RW, flags, len, len, len);
}

static const uint8_t *received(const struct guest *guest)
{
	return guest->memory + RX_AT + guest->rx_held * RX_BUFFER;
}

struct virtio_vsock_hdr guest_recv(struct guest *guest)
{
	struct virtio_vsock_hdr header;
	struct vring_used_elem used;

	if (guest->rx_held >= 0)
		offer_rx(guest, guest->rx_held);
	used = done_with(&guest->rx, &guest->rx_seen, guest->rx_call);

	need(used.len >= HEADER);
	guest->rx_held = used.id;
	memcpy(&header, received(guest), HEADER);
	need(le32toh(header.len) == used.len - HEADER);
	return header;
}

bool guest_takes(struct guest *guest, uint64_t offset, size_t len, bool marked)
{
	bool right = true;

	while (len) {
		struct virtio_vsock_hdr header = guest_recv(guest);
		uint32_t part = le32toh(header.len);
		bool mark = le32toh(header.flags) & VIRTIO_VSOCK_SEQ_EOM;

		/* News of credit come in between. */
		if (le16toh(header.op) != VIRTIO_VSOCK_OP_RW)
			continue;
		need(part && part <= len);
		right &= matches(received(guest) + HEADER, part, offset);
		offset += part;
		len -= part;
		right &= mark == (marked && !len);
		guest->taken += part;
	}
	/* Or the host would wait for credit some day. */
	guest_send(guest, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0, 1);
	return right;
}

static int listen_to_guest(int type, struct sockaddr_vm *address)
{
	int listener = socket(AF_VSOCK, type | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*address);

	*address = (struct sockaddr_vm) {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = VMADDR_PORT_ANY,
	};
	need(listener >= 0);
	need(!bind(listener, (struct sockaddr *)address, len));
	need(!getsockname(listener, (struct sockaddr *)address, &len));
	need(!listen(listener, 1));
	return listener;
}

int guest_connect(struct guest *guest)
{
	bool stream = guest->type == VIRTIO_VSOCK_TYPE_STREAM;
	struct sockaddr_vm address;
	struct virtio_vsock_hdr answer;
	int listener, fd;

	listener = listen_to_guest(stream ? SOCK_STREAM : SOCK_SEQPACKET, &address);
	guest->host_port = address.svm_port;
	guest_send(guest, VIRTIO_VSOCK_OP_REQUEST, 0, 0, 1);
	answer = guest_recv(guest);
	need(le16toh(answer.op) == VIRTIO_VSOCK_OP_RESPONSE);
	need((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0);
	close(listener);
	return fd;
}
