/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The groups of checks, in the order in which they run. None leaves a socket
 * attached.
 */
#ifndef CONTRACT_H
#define CONTRACT_H

/* A kernel without the module. */
void check_absent(void);

/* refusals.c: each error of the contract. */
void check_attach(void);
void check_options(void);
void check_mmap(void);
void check_map_rx(void);

/* receiving.c: what is received, and how. */
void check_layout(void);
void check_limits(void);
void check_shares(void);
void check_mixed(void);
void check_end_of_stream(void);
void check_credit(void);

/* compat.c: a 32-bit program. */
void check_compat(void);

/* advice.c: other calls about memory, while it is mapped. */
void check_advice(void);

/* memory.c: what user space can hold, and who is charged for it. */
void check_holding(void);
void check_charge(void);

/* vhost.c: a guest of this machine's vhost_vsock, played by this process. */
void check_vhost(void);
/* messages.c: the same guest, which sends and receives messages. */
void check_vhost_messages(void);

/* lifetime.c: processes, mappings and the module come and go. */
void check_mappings(void);
void check_two_sockets(void);
void check_fork(void);
void check_close(void);
void check_kill(void);
void check_memory(void);
/* Its driver loses a device of this name in the middle of a stream. */
void check_lost_device(const char *device);
void check_unload(const char *module);

/* How many references there are on a module, and whether it is so again. */
int references(const char *module);
void check_references(const char *module, int before);

/* Loads the module from a file; 0 or -1 with errno. */
int load(const char *module);

#endif /* CONTRACT_H */
