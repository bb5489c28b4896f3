// SPDX-License-Identifier: Apache-2.0
/* UDP traffic of a bounded number of packets, and what became of it: the two ends of tests/bench/test_live.py. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#define BATCH 64
#define SIZE 2048
#define WARM 200 /* round trips that do not count: paths are learned, caches filled */

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void silence(int sock, double seconds)
{
	struct timeval limit = {.tv_sec = (int)seconds, .tv_usec = (int)(seconds * 1e6) % 1000000};

	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

/* Sends back what comes, until that is empty, or nothing. */
static int echo(int sock)
{
	char buffer[SIZE];
	struct sockaddr_in from;
	socklen_t size = sizeof(from);
	ssize_t length;

	silence(sock, 3);
	while ((length = recvfrom(sock, buffer, sizeof(buffer), 0, (void *)&from, &size)) > 0)
		sendto(sock, buffer, length, 0, (void *)&from, size);
	return 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* What nine of ten of `count` round trips take longer than, in microseconds: those that nobody else got between. */
static int trips(int sock, int count)
{
	double *taken = calloc(count, sizeof(*taken));
	char buffer[SIZE] = {0};
	int done = -WARM, lost = 0;

	silence(sock, 0.2);
	while (done < count && lost < 20) {
		double begin = now();

		send(sock, buffer, 32, 0);
		if (recv(sock, buffer, sizeof(buffer), 0) <= 0) {
			lost++;
			continue;
		}
		if (done >= 0)
			taken[done] = (now() - begin) * 1e6;
		done++;
	}
	if (done < count)
		return 1;
	send(sock, buffer, 0, 0);
	qsort(taken, count, sizeof(*taken), compare);
	printf("%f %d\n", taken[count / 10], lost);
	return 0;
}

/*
 * How many packets came, and in how many seconds from the first to the last. It looks every millisecond and has room
 * until then: woken for each packet, waking it would be most of what is measured.
 */
static int sink(int sock)
{
	static char buffer[BATCH][SIZE];
	struct mmsghdr message[BATCH] = {0};
	struct iovec part[BATCH];
	const struct timespec pause = {.tv_nsec = 1000000};
	double first = 0, last = now() + 5; /* as long as the first may take */
	int room = 64 << 20, got;
	long packets = 0;

	for (int i = 0; i < BATCH; i++) {
		part[i] = (struct iovec){buffer[i], SIZE};
		message[i].msg_hdr.msg_iov = &part[i];
		message[i].msg_hdr.msg_iovlen = 1;
	}
	setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	while (now() < last + 0.5) {
		got = recvmmsg(sock, message, BATCH, MSG_DONTWAIT, NULL);
		if (got <= 0) {
			nanosleep(&pause, NULL);
			continue;
		}
		last = now();
		first = packets ? first : last;
		packets += got;
	}
	printf("%ld %f\n", packets, last - first);
	return 0;
}

/*
 * Sends without waiting. Prints the seconds of a processor that it took: all of the way to the receiver's socket is
 * walked on its core and in its name, and it is not charged for what others do there meanwhile.
 */
static int flood(int sock, long count, int size)
{
	struct rusage used;
	static char buffer[SIZE];
	struct mmsghdr message[BATCH] = {0};
	struct iovec part = {buffer, size};

	for (int i = 0; i < BATCH; i++) {
		message[i].msg_hdr.msg_iov = &part;
		message[i].msg_hdr.msg_iovlen = 1;
	}
	for (long sent = 0; sent < count; sent += BATCH)
		sendmmsg(sock, message, BATCH, 0);
	getrusage(RUSAGE_SELF, &used);
	printf("%f\n",
	       used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	return 0;
}

int main(int count, char **word)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int sock = socket(AF_INET, SOCK_DGRAM, 0), error;
	int serves = count > 1 && (!strcmp(word[1], "echo") || !strcmp(word[1], "sink"));

	if (count < 4 || sock < 0)
		return 64;
	inet_pton(AF_INET, word[2], &address.sin_addr);
	address.sin_port = htons(atoi(word[3]));
	error = serves ? bind(sock, (void *)&address, sizeof(address))
		       : connect(sock, (void *)&address, sizeof(address));
	if (error) {
		perror(word[1]);
		return 1;
	}
	if (serves) {
		puts("ready");
		fflush(stdout);
		return word[1][0] == 'e' ? echo(sock) : sink(sock);
	}
	if (count > 4 && !strcmp(word[1], "trips"))
		return trips(sock, atoi(word[4]));
	if (count > 5 && !strcmp(word[1], "flood"))
		return flood(sock, atol(word[4]), atoi(word[5]));
	return 64;
}
