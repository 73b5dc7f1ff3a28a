# SPDX-License-Identifier: GPL-2.0
# What differs between kernels, found in their headers. Patterns have no
# parenthesis: it would end $(shell).

has = $(shell grep -q '$(1)' $(srctree)/include/$(2) && echo y)

# A protocol's getsockopt() may take a pair of iterators.
ccflags-$(call has,} sockopt_t;,linux/net.h) += -DHAVE_SOCKOPT_T
# Transports are told the network namespace of a packet.
ccflags-$(call has,sk_buff \*skb$(comma) struct net,linux/virtio_vsock.h) += -DHAVE_VSOCK_NET
# They are asked about an address on behalf of a socket.
ccflags-$(call has,stream_allow.*struct vsock_sock,net/af_vsock.h) += -DHAVE_ALLOW_VSK
# They may serve guests beyond the host.
ccflags-$(call has,has_remote_cid,net/af_vsock.h) += -DHAVE_REMOTE_CID
