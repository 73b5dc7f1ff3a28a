// SPDX-License-Identifier: GPL-2.0
/*
 * A 32-bit program: it cannot attach a socket, and cannot receive by mapping
 * from one that it was given, as its addresses are shorter.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "contract.h"
#include "stream.h"
#include "tap.h"

#ifdef __x86_64__

#define I386_GETPID	20
#define I386_IOCTL	54
#define I386_GETSOCKOPT	365

/* A system call as a 32-bit program makes it; -1 with errno if it fails. */
static long call32(long number, long a, long b, long c, long d, long e)
{
	register long r8 asm("r8") = 0;

	asm volatile("int $0x80"
		     : "+a" (number), "+r" (r8)
		     : "b" (a), "c" (b), "d" (c), "S" (d), "D" (e)
		     : "memory", "r9", "r10", "r11");
	number = (int)number;
	if (number < 0 && number > -4096) {
		errno = -number;
		return -1;
	}
	return number;
}

static int call_pid(void *unused)
{
	(void)unused;
	signal(SIGSEGV, SIG_DFL);
	return call32(I386_GETPID, 0, 0, 0, 0, 0) != getpid();
}

/* Where 32 bits of an address are enough. */
struct low {
	uint64_t value[4];
	socklen_t len;
};

static long option32(int fd, int option, struct low *low, socklen_t len)
{
	low->len = len;
	return call32(I386_GETSOCKOPT, fd, AF_VSOCK, option, (long)low->value,
		      (long)&low->len);
}

void check_compat(void)
{
	struct stream stream = stream_open_zerocopy();
	struct stream other = stream_open(SOCK_STREAM);
	struct map map = map_open(stream.receiver, 8);
	int device = open(VSOCK_ZEROCOPY_DEVICE, O_RDWR), fd = stream.receiver;
	struct low *low = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	tap_section("a 32-bit program");
	need(device >= 0 && low != MAP_FAILED);
	if (in_child(call_pid, NULL)) {
		tap_note("this kernel has no 32-bit calls");
		goto close;
	}
	refused(ENOTTY, call32(I386_IOCTL, device, VSOCK_ZEROCOPY_ATTACH,
			       other.receiver, 0, 0), "it cannot attach");
	check(!attach(other.receiver), "what it could not, others can");

	stream_send(&stream, 5000);
	stream_wait(&stream, 5000);
	low->value[0] = (unsigned long)map.at;
	refused(EINVAL, option32(fd, SO_VM_SOCKETS_MAP_RX, low, 4),
		"MAP_RX with an address of 32 bits");
	refused(EINVAL, option32(fd, SO_VM_SOCKETS_MAP_RX, low, 0x80000008),
		"a negative length");
	check(fault_at(map.at) == SIGBUS, "and nothing was mapped");
	check(!option32(fd, SO_VM_SOCKETS_ZEROCOPY, low, 4) && low->value[0] % 256 == 1,
	      "ZEROCOPY is the same to it");
	check(!option32(fd, SO_VM_SOCKETS_ZEROCOPY_STATS, low, sizeof(low->value)) &&
	      low->len == sizeof(low->value) && !low->value[0],
	      "and so are statistics");
	check(map_all(&stream, map, 5000), "nothing is lost");
close:
	map_close(map);
	need(!munmap(low, PAGE));
	close(device);
	stream_close(&other);
	stream_close(&stream);
}

#else

void check_compat(void)
{
}

#endif
