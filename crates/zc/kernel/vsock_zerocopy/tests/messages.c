// SPDX-License-Identifier: GPL-2.0
/*
 * Messages (SEQPACKET) between this machine and a guest of its vhost_vsock. The
 * module leaves them alone, also while it is loaded and maps what streams carry.
 */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "contract.h"
#include "guest.h"
#include "stream.h"
#include "tap.h"

#define MOST		(256UL << 10)
#define END		VIRTIO_VSOCK_SEQ_EOM

static uint8_t bytes[MOST];

/* A message of packets of 64 KiB at most; the last one bears the mark. */
static void send_message(struct guest *guest, size_t len)
{
	for (size_t at = 0; at < len; at += 65536) {
		size_t part = len - at < 65536 ? len - at : 65536;

		fill(guest->payload, part, at);
		guest_send_flags(guest, part, at + part == len ? END : 0);
	}
}

static bool arrives(int fd, size_t len)
{
	ssize_t got;

	if (!ready(fd, POLLIN, PATIENCE))
		return false;
	got = recv(fd, bytes, sizeof(bytes), 0);
	if (got != (ssize_t)len)
		tap_note("%zd bytes instead of %zu", got, len);
	return got == (ssize_t)len && matches(bytes, len, 0);
}

void check_vhost_messages(void)
{
	static const size_t lengths[] = { 1, 4096, 65536, 65537, 200000 };
	struct guest guest;
	int fd;

	tap_section("messages of a guest of vhost_vsock");
	guest_open(&guest, VIRTIO_VSOCK_TYPE_SEQPACKET);
	fd = guest_connect(&guest);
	refused(EOPNOTSUPP, attach(fd), "a connection of messages is not attached");

	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		send_message(&guest, lengths[i]);
		check(arrives(fd, lengths[i]), "%zu bytes from the guest",
		      lengths[i]);
	}
	send_message(&guest, 10);
	send_message(&guest, 30000);
	check(arrives(fd, 10) && arrives(fd, 30000), "two at once stay two");

	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		fill(bytes, lengths[i], 0);
		need(send(fd, bytes, lengths[i], 0) == (ssize_t)lengths[i]);
		check(guest_takes(&guest, 0, lengths[i], true),
		      "%zu bytes to the guest, with one mark at the end",
		      lengths[i]);
	}
	close(fd);
	guest_send(&guest, VIRTIO_VSOCK_OP_RST, 0, 0, 1);
	guest_close(&guest);
}
