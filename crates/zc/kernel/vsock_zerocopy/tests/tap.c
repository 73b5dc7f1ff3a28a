// SPDX-License-Identifier: GPL-2.0

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tap.h"

static int checks, failures;

/* Seconds since the first call. */
static long elapsed(void)
{
	static time_t start;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!start)
		start = now.tv_sec;
	return now.tv_sec - start;
}

void tap_section(const char *name)
{
	printf("# %s (after %ld s)\n", name, elapsed());
	fflush(stdout);
}

void tap_note(const char *format, ...)
{
	va_list arguments;

	printf("#   ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	fflush(stdout);
}

bool tap_check(bool passed, const char *file, int line, const char *format, ...)
{
	va_list arguments;

	checks++;
	failures += !passed;
	printf("%s %d - ", passed ? "ok" : "not ok", checks);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	if (!passed)
		printf(" (%s:%d)", file, line);
	printf("\n");
	fflush(stdout);
	return passed;
}

void tap_bail(const char *file, int line, const char *what)
{
	printf("Bail out! %s:%d: %s: %s\n", file, line, what, strerror(errno));
	fflush(stdout);
	exit(2);
}

int tap_end(void)
{
	printf("1..%d\n", checks);
	if (failures)
		printf("# %d of %d failed\n", failures, checks);
	fflush(stdout);
	return failures ? 1 : 0;
}
