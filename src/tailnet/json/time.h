/* time.h: days and dates, for the reader and the writer. */
#ifndef GSI_TAILNET_JSON_TIME_H
#define GSI_TAILNET_JSON_TIME_H

#include <stdint.h>

#define JSON_ZERO_TIME INT64_C(-62135596800) /* Go's: 0001-01-01T00:00:00Z */
#define JSON_LAST_TIME INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

/* Days from 1970-01-01 to a date of the Gregorian calendar, years 1 to 9999. */
int64_t gsi_json_days(int64_t year, int64_t month, int64_t day);

#endif
