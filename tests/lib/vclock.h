/* vclock.h: a virtual clock behind gsi_now(), poll, epoll_wait and timerfds, so that tests of time are exact and take none.
 *
 *     vclock_start(VCLOCK_AUTO);
 *     assert_int_equal(gs_receive(m, &msg, 60000), GS_ETIMEOUT);   // returns at once
 *     assert_int_equal(vclock_ms(), 60000);
 *     vclock_stop();
 *
 * AUTO, for one thread: a wait that finds nothing ready moves the clock to its end, or to the next timerfd before it, and
 * never blocks; an endless wait without a timer blocks really. MANUAL, for several threads: waits block until something is
 * ready or the test has moved the clock past their end with vclock_advance. Start and stop while no other thread of the
 * library runs; timerfds made before the start keep real time.
 */
#ifndef TEST_VCLOCK_H
#define TEST_VCLOCK_H

#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

enum vclock_mode { VCLOCK_OFF, VCLOCK_AUTO, VCLOCK_MANUAL };

void vclock_start(enum vclock_mode mode);
void vclock_stop(void);
void vclock_advance(uint64_t ms);
uint64_t vclock_ms(void);  /* virtual milliseconds since vclock_start */
int vclock_sleepers(void); /* MANUAL: threads that wait now */

/* The seam entries under the fault injector; the real ones while the clock is off. */
uint64_t vclock_now_ns(void);
int vclock_poll(struct pollfd *p, nfds_t n, int timeout_ms);
int vclock_epoll_wait(int ep, struct epoll_event *e, int n, int timeout_ms);
int vclock_timerfd_create(int clock, int flags);
int vclock_timerfd_settime(int fd, int flags, const struct itimerspec *to, struct itimerspec *was);
void vclock_closed(int fd);

#endif
