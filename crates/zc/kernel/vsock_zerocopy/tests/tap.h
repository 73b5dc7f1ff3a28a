/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Checks and their count, printed as the Test Anything Protocol has it.
 */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>

/* One line for one check; returns whether it passed. */
#define check(passed, ...) \
	tap_check((passed), __FILE__, __LINE__, __VA_ARGS__)

/* A call that must fail, and with this error. The call is made here. */
#define refused(error, call, ...)					\
	do {								\
		errno = 0;						\
		long refused_ = (long)(call);				\
		int errno_ = errno;					\
		if (!check(refused_ == -1 && errno_ == (error), __VA_ARGS__)) \
			tap_note("returned %ld with errno %d (%s), not %d (%s)", \
				 refused_, errno_, strerror(errno_),	\
				 (error), strerror(error));		\
	} while (0)

/* What must work for the checks to mean anything: if it does not, all ends. */
#define need(works) \
	((works) ? (void)0 : tap_bail(__FILE__, __LINE__, #works))

void tap_section(const char *name);
void tap_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool tap_check(bool passed, const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void tap_bail(const char *file, int line, const char *what)
	__attribute__((noreturn));

/* Prints the plan; returns the exit code. */
int tap_end(void);

#endif /* TAP_H */
