// SPDX-License-Identifier: GPL-2.0
/*
 * Checks that vsock_zerocopy keeps its contract.
 *
 *	contract vsock_zerocopy.ko		over loopback
 *	contract vsock_zerocopy.ko CID DEVICE	over virtio_vsock_pages
 *
 * It is for a machine of the test's own: it needs root, the transport, and a
 * kernel in which the module is not loaded; it loads and unloads it. What is
 * sent to the CID comes back to this machine; the virtio device is taken from
 * its driver and given back. It prints
 * the Test Anything Protocol and exits with 0 only if every check passed, also
 * that of the kernel's log.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "contract.h"
#include "stream.h"
#include "tap.h"

#define READ_ALL	3	/* SYSLOG_ACTION_READ_ALL */

static void check_device(void)
{
	struct stat device;

	tap_section("the device");
	need(!stat(VSOCK_ZEROCOPY_DEVICE, &device));
	check(S_ISCHR(device.st_mode) && (device.st_mode & 0777) == 0600 &&
	      device.st_uid == 0, "a character device for root alone");
}

void check_absent(void)
{
	struct stream stream = stream_open(SOCK_STREAM);
	struct stat device;
	uint64_t value[4] = {};
	socklen_t len;

	tap_section("a kernel without the module");
	for (int option = 9; option <= 11; option++) {
		len = sizeof(value);
		refused(ENOPROTOOPT,
			getsockopt(stream.receiver, AF_VSOCK, option, value, &len),
			"getsockopt knows no option %d", option);
	}
	refused(ENOPROTOOPT, enable(stream.receiver, 1),
		"setsockopt knows no option 10");
	refused(ENODEV, mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED,
			     stream.receiver, 0),
		"a vsock stream cannot be mapped");
	refused(ENOENT, stat(VSOCK_ZEROCOPY_DEVICE, &device), "there is no device");
	stream_close(&stream);
}

/* The kernel complains in these words. */
static const char *const complaints[] = {
	"WARNING:", "BUG:", "BUG ", "Oops", "Call Trace", "general protection",
	"Bad page", "Bad rss-counter", "refcount_t", "vsock_zerocopy:",
};

static void check_log(void)
{
	static const char mark[] = "contract: the end of the log";
	int size = klogctl(10 /* SYSLOG_ACTION_SIZE_BUFFER */, NULL, 0);
	char *log = calloc(1, size + 1);
	FILE *kmsg = fopen("/dev/kmsg", "w");
	bool clean = true;

	tap_section("the kernel's log");
	need(log && kmsg);
	fprintf(kmsg, "%s\n", mark);
	fclose(kmsg);
	need(klogctl(READ_ALL, log, size) > 0);
	check(strstr(log, mark), "can be read to its end");
	check(strstr(log, "Linux version"), "can be read from its beginning");

	for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n")) {
		for (size_t i = 0; i < sizeof(complaints) / sizeof(*complaints); i++) {
			/* That an unsigned module taints is no complaint. */
			if (!strstr(line, complaints[i]) || strstr(line, "taint"))
				continue;
			tap_note("%s", line);
			clean = false;
			break;
		}
	}
	check(clean, "has no complaint");
	free(log);
}

/* A guest's route through its device: into single pages, unless short. */
static void take_route(const char *cid)
{
	route = (struct route) {
		.cid = strtoul(cid, NULL, 10),
		.transport = "virtio_vsock_pages",
		.copied = 2048,
		.single_pages = true,
	};
}

int main(int argc, char **argv)
{
	int vsock, transport;

	if (argc != 2 && argc != 4) {
		fprintf(stderr, "usage: %s vsock_zerocopy.ko [CID DEVICE]\n", argv[0]);
		return 2;
	}
	if (argc == 4)
		take_route(argv[2]);
	/* A check that hangs is a failure too. */
	alarm(900);
	need((vsock = references("vsock")) >= 0);
	need((transport = references(route.transport)) >= 0);

	check_absent();
	need(!load(argv[1]));
	check_device();
	check_attach();
	check_options();
	check_mmap();
	check_map_rx();
	check_layout();
	check_limits();
	check_shares();
	check_mixed();
	check_end_of_stream();
	check_credit();
	check_mappings();
	check_advice();
	check_compat();
	check_two_sockets();
	check_fork();
	check_close();
	check_kill();
	check_memory();
	check_holding();
	check_charge();
	check_vhost();
	check_vhost_messages();
	if (argc == 4)
		check_lost_device(argv[3]);
	check_unload(argv[1]);
	check_absent();
	check_references("vsock", vsock);
	check_references(route.transport, transport);
	check_log();
	return tap_end();
}
