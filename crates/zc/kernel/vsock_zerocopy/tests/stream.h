/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A vsock stream from this process to itself, and mappings to receive it with.
 *
 * Every byte says where in the stream it belongs, so that each check of a
 * content also finds bytes that were lost, repeated or swapped. Every wait has a
 * limit, after which the program ends with failure.
 */
#ifndef STREAM_H
#define STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "../vsock_zerocopy.h"

#define PAGE		4096UL
#define WINDOW		(4UL << 20)	/* of bytes under way */
#define PATIENCE	30000		/* milliseconds */

/* How this process reaches itself, and in what its packets arrive. */
struct route {
	unsigned int cid;
	const char *transport;	/* the module */
	size_t copied;		/* writes of so many bytes are copied */
	bool single_pages;	/* one that is kept does not keep others */
};

/* Over loopback, until the program is told otherwise. */
extern struct route route;

static inline bool route_is_loopback(void)
{
	return route.cid == 1 /* VMADDR_CID_LOCAL */;
}

struct stream {
	int sender;
	int receiver;
	uint64_t sent;
	uint64_t received;
};

/* A connected pair over the route, of SOCK_STREAM or SOCK_SEQPACKET. */
struct stream stream_open(int type);
/* The same, attached and enabled. */
struct stream stream_open_zerocopy(void);
/* With a window of so many bytes. */
struct stream stream_open_window(int type, uint64_t window);
void stream_close(struct stream *stream);

/* ioctl(VSOCK_ZEROCOPY_ATTACH) with a device opened for it. */
int attach(int fd);
int enable(int fd, int on);

/* Writes len bytes in one call, which must take them all. */
void stream_send(struct stream *stream, size_t len);
/* Waits until so many bytes, and no more, are there to be received. */
void stream_wait(struct stream *stream, size_t len);
/* Reads len bytes as recv() does; returns whether they are the right ones. */
bool stream_recv(struct stream *stream, size_t len);
void fill(void *bytes, size_t len, uint64_t offset);
bool matches(const void *bytes, size_t len, uint64_t offset);

struct map {
	uint8_t *at;
	size_t pages;
};

struct map map_open(int fd, size_t pages);
void map_give_back(struct map map);
void map_close(struct map map);
const struct vsock_zerocopy_packet *map_packets(struct map map);

/* getsockopt(SO_VM_SOCKETS_MAP_RX); -1 and errno if it fails. */
int map_rx(int fd, const void *at);

/*
 * What one list says, and whether the bytes are the next ones of the stream,
 * with zeroes behind each packet. The stream advances.
 */
struct taken {
	bool right;
	size_t bytes;
	size_t packets;
};

struct taken map_take(struct stream *stream, struct map map);

/* map_rx() once there is something, map_take(), map_give_back(). */
struct taken map_next(struct stream *stream, struct map map);
/* map_next() until len bytes are there; returns whether all were right. */
bool map_all(struct stream *stream, struct map map, uint64_t len);

struct vsock_zerocopy_stats stats_of(int fd);

/* Whether poll() finds one of these events within so many milliseconds. */
bool ready(int fd, short events, int limit);
/* Whether a byte can be read there: 0, or the signal that the attempt gave. */
int fault_at(const void *at);
/* Runs it in a child; returns its exit status as wait() has it. */
int in_child(int (*run)(void *), void *argument);

#endif /* STREAM_H */
