/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What Debian 12's kernel headers (6.1) lack of userfaultfd(2) and PAGEMAP_SCAN, in our own names,
 * and the few calls that everybody makes with them. Sources: linux/userfaultfd.h, linux/fs.h and
 * Documentation/admin-guide/mm/pagemap.rst of Linux 6.7.
 */
#pragma once

#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>

#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12) /* Linux 5.19 */
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13) /* Linux 6.4 */
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15) /* Linux 6.7 */
#endif

/* Of shared memory, protection of pages that nobody has touched yet is kept since 5.19 already;
 * WP_UNPOPULATED says the same of private memory. */
#define UFFD_FEATURES_SYNC (UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM)
#define UFFD_FEATURES_ASYNC                                                                        \
  (UFFD_FEATURES_SYNC | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC)

/* ioctl on /dev/userfaultfd that makes a descriptor (Linux 6.1). */
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO (0xAA, 0x00)
#endif

/* Categories of pages, as PAGEMAP_SCAN has them. */
#define PAGEMAP_WRITTEN (UINT64_C (1) << 1) /* since it was protected the last time */

/* What PAGEMAP_SCAN finds: neighbours of the same categories. */
struct pagemap_region {
  uint64_t start, end; /* addresses */
  uint64_t categories;
};

/* PAGEMAP_SCAN's argument (struct pm_scan_arg). */
struct pagemap_scan {
  uint64_t size; /* of this structure */
  uint64_t flags;
  uint64_t start, end;
  uint64_t walk_end; /* out: where it stopped, when the regions were full */
  uint64_t regions;  /* address of an array of struct pagemap_region */
  uint64_t region_count;
  uint64_t max_pages; /* 0: no bound */
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define PAGEMAP_SCAN_PROTECT (UINT64_C (1) << 0)     /* PM_SCAN_WP_MATCHING */
#define PAGEMAP_SCAN_CHECK_ASYNC (UINT64_C (1) << 1) /* PM_SCAN_CHECK_WPASYNC: EPERM if not so */
#define PAGEMAP_SCAN_IOCTL _IOWR ('f', 16, struct pagemap_scan)
