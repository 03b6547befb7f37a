/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What checkpoints of a libvirt domain will contain, and what stands against them, told from its
 * description before anybody relies on it. Of the host only the domain's disks are looked at.
 */
#pragma once

#include <vmckpt/drivers/domain-xml.h>

#include <json-glib/json-glib.h>

/* What is known beside the description; zeros where nothing is. */
typedef struct {
  gboolean running;
  guint qemu_major, qemu_minor; /* of the emulator that it names; 0: not known */
  const char *no_userfaultfd;   /* (nullable): why its QEMU may not have one */
  const char *untracked;        /* (nullable): why a prepared domain that runs is not followed */
} DomainCircumstances;

/**
 * domain_doctor:
 * @xml: the live description of a domain that runs, else the inactive one
 * @inactive: (nullable): the inactive one of a domain that runs
 *
 * Returns: (transfer full): { "domain", "uuid", "running", "prepared": "no"|"next-start"|"yes",
 *   "engine": "tracked"|"stream"|"none", "possible": bool,
 *   "contents": [{ "part": "memory"|"disk"|"nvram"|"tpm"|…, "name", "bytes" (nullable),
 *                  "kept": bool, "how" }],
 *   "findings": [{ "check", "level": "blocks"|"degrades"|"note", "found", "mend" (nullable) }] };
 * NULL with DRIVER_ERROR_INVALID: no such description.
 */
JsonObject *domain_doctor (const char *xml, const char *inactive,
                           const DomainCircumstances *circumstances, GError **error);

/**
 * domain_doctor_foreign_writer:
 * @xml: a description
 *
 * Returns: a sentence about a device that writes to the domain's memory past its QEMU
 * (foreign-writers.h), static; NULL: there is none, as far as the description tells.
 */
const char *domain_doctor_foreign_writer (const char *xml);

/**
 * domain_doctor_user:
 * @xml: a description
 * @capabilities: (nullable): of libvirt's host
 * @uid: (out): the user that its QEMU runs as: its own label (model dac), or the host's default
 *
 * Returns: FALSE if neither tells.
 */
gboolean domain_doctor_user (const char *xml, const char *capabilities, guint *uid);
