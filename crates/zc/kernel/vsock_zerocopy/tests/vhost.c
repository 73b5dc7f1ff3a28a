// SPDX-License-Identifier: GPL-2.0
/*
 * What a guest sends to a host whose kernel is its device (vhost_vsock): whole
 * packets, and such as no driver sends.
 */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "contract.h"
#include "guest.h"
#include "stream.h"
#include "tap.h"

/*
 * The guest sends a packet; what its header announces is received by mapping,
 * and the shares of this one packet are returned.
 */
static struct vsock_zerocopy_stats pass(struct guest *guest,
					struct stream *stream, uint32_t len,
					uint32_t chain, uint32_t piece)
{
	struct vsock_zerocopy_stats before = stats_of(stream->receiver), after;
	struct map map = map_open(stream->receiver, 1 + (len + PAGE - 1) / PAGE);

	fill(guest->payload, chain, stream->sent);
	guest_send(guest, VIRTIO_VSOCK_OP_RW, len, chain, piece);
	stream->sent += len;
	check(map_all(stream, map, len), "%u bytes in a chain of %u: bytes", len,
	      chain);
	after = stats_of(stream->receiver);
	map_close(map);
	after.mapped_bytes -= before.mapped_bytes;
	after.copied_bytes -= before.copied_bytes;
	return after;
}

void check_vhost(void)
{
	struct vsock_zerocopy_stats stats;
	struct stream stream = {};
	struct guest guest;

	tap_section("what a guest sends through vhost_vsock");
	guest_open(&guest, VIRTIO_VSOCK_TYPE_STREAM);
	stream.receiver = guest_connect(&guest);
	need(!attach(stream.receiver) && !enable(stream.receiver, 1));

	stats = pass(&guest, &stream, 65536, 65536, 65536);
	check(stats.copied_bytes == 0, "64 KiB in one piece: all mapped");
	stats = pass(&guest, &stream, 65536, 65536, 4096);
	check(stats.copied_bytes == 0, "64 KiB in pieces of a page: all mapped");
	stats = pass(&guest, &stream, 40000, 40000, 40000);
	check(stats.mapped_bytes == 9 * PAGE, "40000 bytes: whole pages mapped");

	/*
	 * More in the chain than the header announces: from some kernels (7.3)
	 * comes a packet whose fragments hold more than the packet does, so that
	 * its linear part has a negative length, and others (6.12) cut it.
	 */
	stats = pass(&guest, &stream, 40000, 65536, 65536);
	check(stats.mapped_bytes + stats.copied_bytes == 40000 &&
	      (!stats.mapped_bytes || stats.mapped_bytes == 9 * PAGE),
	      "a chain longer than its header says: not a byte more is received");
	tap_note("%llu bytes of it are mapped",
		 (unsigned long long)stats.mapped_bytes);
	stats = pass(&guest, &stream, 1, 65536, 65536);
	check(stats.mapped_bytes == 0 && stats.copied_bytes == 1,
	      "one byte of a chain of 64 KiB is copied");
	stats = pass(&guest, &stream, 65536, 65536, 65536);
	check(stats.copied_bytes == 0, "and what follows is mapped as before");

	stream.sender = stream.receiver;
	stream.sent = 0;
	stream_send(&stream, 100000);
	check(guest_takes(&guest, 0, 100000, false),
	      "the other way: the guest receives 100000 bytes");

	close(stream.receiver);
	guest_send(&guest, VIRTIO_VSOCK_OP_RST, 0, 0, 1);
	guest_close(&guest);
}
