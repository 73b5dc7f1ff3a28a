// SPDX-License-Identifier: GPL-2.0
/*
 * What happened, in /sys/bus/virtio/drivers/virtio_vsock_pages/virtioN/pages/.
 *
 * Numbers that begin with rx_ are written by the receiver alone, those with
 * tx_ under the sender's lock. A reader may see one that is a moment old.
 */

#include <linux/device.h>
#include <linux/sysfs.h>

#include "pages.h"

static ssize_t show(char *buffer, size_t offset, bool wide)
{
	struct vvp_device *device;
	u64 value = 0;

	rcu_read_lock();
	device = vvp_device_rcu();
	if (device) {
		const void *at = (const char *)device + offset;

		value = wide ? READ_ONCE(*(const u64 *)at) :
			       READ_ONCE(*(const unsigned int *)at);
	}
	rcu_read_unlock();
	return device ? sysfs_emit(buffer, "%llu\n", value) : -ENODEV;
}

#define SHOW(name, member)						\
static ssize_t name##_show(struct device *dev,				\
			   struct device_attribute *attribute, char *buffer) \
{									\
	return show(buffer, offsetof(struct vvp_device, member),	\
		    sizeof(((struct vvp_device *)NULL)->member) ==	\
			    sizeof(u64));				\
}									\
static DEVICE_ATTR_RO(name)

SHOW(rx_packets, count.rx_packets);
SHOW(rx_paged_packets, count.rx_paged_packets);
SHOW(rx_paged_bytes, count.rx_paged_bytes);
SHOW(rx_copied_bytes, count.rx_copied_bytes);
SHOW(rx_dropped, count.rx_dropped);
SHOW(rx_refused, count.rx_refused);
SHOW(rx_shortages, count.rx_shortages);
SHOW(rx_short_runs, count.rx_short_runs);
SHOW(rx_pauses, count.rx_pauses);
SHOW(rx_order, rx.order);
SHOW(rx_buffers, rx.posted);
SHOW(rx_buffer_bytes, rx.posted_bytes);
SHOW(tx_packets, count.tx_packets);
SHOW(tx_bytes, count.tx_bytes);
SHOW(tx_splits, count.tx_splits);
SHOW(transport_resets, count.transport_resets);

static struct attribute *attributes[] = {
	&dev_attr_rx_packets.attr,
	&dev_attr_rx_paged_packets.attr,
	&dev_attr_rx_paged_bytes.attr,
	&dev_attr_rx_copied_bytes.attr,
	&dev_attr_rx_dropped.attr,
	&dev_attr_rx_refused.attr,
	&dev_attr_rx_shortages.attr,
	&dev_attr_rx_short_runs.attr,
	&dev_attr_rx_pauses.attr,
	&dev_attr_rx_order.attr,
	&dev_attr_rx_buffers.attr,
	&dev_attr_rx_buffer_bytes.attr,
	&dev_attr_tx_packets.attr,
	&dev_attr_tx_bytes.attr,
	&dev_attr_tx_splits.attr,
	&dev_attr_transport_resets.attr,
	NULL
};

static const struct attribute_group group = {
	.name = "pages",
	.attrs = attributes,
};

const struct attribute_group *vvp_groups[] = { &group, NULL };
