// SPDX-License-Identifier: GPL-2.0
/*
 * Parameters: a value that cannot work is refused when the module is loaded,
 * and the log says which would.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

#include "pages.h"

unsigned int vvp_order = MAX_RUN_ORDER;
unsigned int vvp_copybreak = 2048;
unsigned int vvp_ring_kib = 4096;
bool vvp_split;
unsigned int vvp_fail_one_in;

struct limits {
	unsigned int *value;
	unsigned int least, most;
};

static struct limits order_range = { &vvp_order, 0, MAX_RUN_ORDER };
static struct limits copybreak_range = { &vvp_copybreak, 128, PAGE_SIZE };
static struct limits ring_range = { &vvp_ring_kib, 256, 65536 };
static struct limits fail_range = { &vvp_fail_one_in, 0, 1000000 };

static int set_in_range(const char *text, const struct kernel_param *param)
{
	const struct limits *range = param->arg;
	unsigned int value;
	int err = kstrtouint(text, 0, &value);

	if (!err && (value < range->least || value > range->most))
		err = -EINVAL;
	if (err)
		pr_err("%s is %s: it is a number from %u to %u\n",
		       param->name, text, range->least, range->most);
	else
		WRITE_ONCE(*range->value, value);
	return err;
}

static int show_value(char *buffer, const struct kernel_param *param)
{
	const struct limits *range = param->arg;

	return sysfs_emit(buffer, "%u\n", *range->value);
}

static const struct kernel_param_ops range_ops = {
	.set = set_in_range,
	.get = show_value,
};

module_param_cb(order, &range_ops, &order_range, 0444);
MODULE_PARM_DESC(order,
	"a buffer has 2^order pages, fewer when memory is fragmented (0-4, default 4)");
module_param_cb(copybreak, &range_ops, &copybreak_range, 0444);
MODULE_PARM_DESC(copybreak,
	"packets up to this many bytes are copied (128-4096, default 2048)");
module_param_cb(ring_kib, &range_ops, &ring_range, 0444);
MODULE_PARM_DESC(ring_kib,
	"KiB of memory that the device may hold to receive into (256-65536, default 4096)");
module_param_named(split, vvp_split, bool, 0444);
MODULE_PARM_DESC(split,
	"send each piece of a packet as a packet, for hosts that take a header and one piece (vhost-device-vsock, libkrun); turns MSG_ZEROCOPY off (default N)");
/* The only one that may change, so that a test can begin and end it. */
module_param_cb(fail_one_in, &range_ops, &fail_range, 0644);
MODULE_PARM_DESC(fail_one_in,
	"for tests: one in so many allocations for the rx ring fails, by chance; 1: all (0-1000000, default 0: none)");
