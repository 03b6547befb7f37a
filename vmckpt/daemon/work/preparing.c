/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "preparing.h"

#include "api-error.h"

#include <vmckpt/drivers/domain-doctor.h>
#include <vmckpt/drivers/domain-prepare.h>
#include <vmckpt/drivers/domain-spec.h>
#include <vmckpt/drivers/qemu.h>
#include <vmckpt/ram/guest-ram.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/line-diff.h>

#include <string.h>

#define DIFF_CONTEXT 3
#define DOMAIN_PREFIX "libvirt:"

/* ---- What libvirt has ---- */

/* "configuration"'s answer (vmckpt/libvirt/README.md). */
static JsonObject *
ask_configuration (LibvirtLink *link, const char *uri, const char *name, GCancellable *cancellable,
                   GError **error)
{
  g_autoptr (JsonObject) arguments = json_object_new();
  g_autoptr (GError) failure = NULL;

  json_object_set_string_member (arguments, "domain", name);
  JsonObject *answer =
      libvirt_link_ask (link, "configuration", arguments, -1, 0, NULL, NULL, cancellable, &failure);
  if (g_error_matches (failure, LIBVIRT_ERROR, LIBVIRT_ERROR_NOT_FOUND))
    g_set_error (error, API_ERROR, API_NOT_FOUND,
                 "no domain '%.64s' at %s; 'virsh list --all' names those that there are", name,
                 uri);
  else if (failure != NULL)
    g_propagate_error (error, g_steal_pointer (&failure));
  return answer;
}

/* The domain that @name means, and the link that knows it. */
static JsonObject *
find_configuration (Domains *domains, const char *name, LibvirtLink **link,
                    GCancellable *cancellable, GError **error)
{
  const char *uri = domains_uri (domains);

  if (g_str_has_prefix (name, DOMAIN_PREFIX))
    name += strlen (DOMAIN_PREFIX);
  if (uri == NULL) {
    g_set_error (error, API_ERROR, API_NOT_POSSIBLE,
                 "domain '%s' cannot be asked for: this daemon looks at no libvirt; start it with "
                 "--libvirt URI",
                 name);
    return NULL;
  }
  *link = domains_link (domains, uri, error);
  return *link != NULL ? ask_configuration (*link, uri, name, cancellable, error) : NULL;
}

/* ---- The change ---- */

/* @inactive before and after, as the same writer writes both. */
typedef struct {
  char *before, *after;
} Change;

static void
change_clear (Change *change)
{
  g_clear_pointer (&change->before, g_free);
  g_clear_pointer (&change->after, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Change, change_clear)

static gboolean
make_change (const char *inactive, gboolean undo, Change *change, GError **error)
{
  g_autoptr (xmlDoc) doc = domain_xml_parse (inactive, strlen (inactive), error);
  g_autofree char *reason = NULL;
  g_autofree char *preload = undo ? NULL : guest_ram_find_preload (&reason);

  if (doc == NULL)
    return FALSE;
  if (!undo && preload == NULL) {
    g_set_error_literal (error, API_ERROR, API_NOT_POSSIBLE, reason);
    return FALSE;
  }
  change->before = domain_xml_to_text (doc);
  if (!(undo ? domain_unprepare (doc, error) : domain_prepare (doc, preload, error)))
    return FALSE;
  change->after = domain_xml_to_text (doc);
  return TRUE;
}

static gboolean
apply_change (LibvirtLink *link, const char *uuid, const char *inactive, const Change *change,
              GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonObject) arguments = json_object_new();
  g_autoptr (JsonObject) answer = NULL;

  json_object_set_string_member (arguments, "domain", uuid);
  json_object_set_string_member (arguments, "was", inactive);
  json_object_set_string_member (arguments, "xml", change->after);
  answer = libvirt_link_ask (link, "reconfigure", arguments, -1, 0, NULL, NULL, cancellable, error);
  return answer != NULL;
}

static void
add_note (JsonArray *notes, const char *text)
{
  json_array_add_string_element (notes, text);
}

/* What it means. */
static JsonArray *
make_notes (gboolean undo, gboolean needed, gboolean running)
{
  JsonArray *notes = json_array_new();

  if (!needed) {
    add_note (notes, undo ? "it is not prepared by vmckpt: there is nothing to take back"
                          : "it is prepared already");
    return notes;
  }
  if (undo) {
    add_note (notes, "its description is as it was before it was prepared");
  } else {
    add_note (notes, "its memory becomes a file that QEMU shares, made by the object that is "
                     "loaded into QEMU; it lies in memory, not on a disk");
    add_note (notes, "checkpoints after the first then read only what was written since the last "
                     "one, and a restore runs it at once and reads its memory meanwhile");
    add_note (notes, "libvirt marks the domain as tainted: custom-argv");
    add_note (notes, "virsh save, restore, managedsave and migrate go on as before; another host "
                     "needs vmckpt in the same place, or the domain runs there without being "
                     "followed, its memory in a file below libvirt's memory_backing_dir");
  }
  add_note (notes, running ? "effective when it is started the next time: shut it down and start it"
                           : "effective when it is started");
  return notes;
}

static JsonObject *
describe_change (JsonObject *configuration, const Change *change, gboolean undo, gboolean applied)
{
  JsonObject *result = json_object_new();
  const char *name = json_get_string_or (configuration, "name", "?");
  gboolean running = json_get_bool_or (configuration, "running", FALSE);
  gboolean needed = !g_str_equal (change->before, change->after);
  g_autofree char *old = g_strdup_printf ("%s.xml", name);
  g_autofree char *new = g_strdup_printf ("%s.xml (%s)", name, undo ? "as before" : "prepared");
  g_autofree char *diff = line_diff (old, change->before, new, change->after, DIFF_CONTEXT);

  json_object_set_string_member (result, "domain", name);
  json_set_string_or_null (result, "uuid", json_get_string_or (configuration, "uuid", NULL));
  json_object_set_boolean_member (result, "running", running);
  json_object_set_boolean_member (result, "undo", undo);
  json_object_set_boolean_member (result, "needed", needed);
  json_object_set_boolean_member (result, "applied", applied);
  json_object_set_string_member (result, "diff", diff);
  json_object_set_array_member (result, "notes", make_notes (undo, needed, running));
  return result;
}

JsonObject *
preparing_domain (Domains *domains, const char *name, gboolean undo, gboolean apply,
                  GCancellable *cancellable, GError **error)
{
  g_autoptr (LibvirtLink) link = NULL;
  g_autoptr (JsonObject) configuration =
      find_configuration (domains, name, &link, cancellable, error);
  g_auto (Change) change = { 0 };
  const char *inactive;

  if (configuration == NULL)
    return NULL;
  inactive = json_get_string_or (configuration, "inactive_xml", NULL);
  if (inactive == NULL) {
    g_set_error (error, API_ERROR, API_NOT_POSSIBLE,
                 "domain '%s' is transient: its description is with whoever starts it ('virsh "
                 "define' would make it persistent)",
                 name);
    return NULL;
  }
  if (!make_change (inactive, undo, &change, error))
    return NULL;
  apply = apply && !g_str_equal (change.before, change.after);
  if (apply && !apply_change (link, json_get_string_or (configuration, "uuid", name), inactive,
                              &change, cancellable, error))
    return NULL;
  return describe_change (configuration, &change, undo, apply);
}

/* ---- What its checkpoints will be like ---- */

static gboolean
sysctl_allows (void)
{
  g_autofree char *text = NULL;

  return g_file_get_contents ("/proc/sys/vm/unprivileged_userfaultfd", &text, NULL, NULL) &&
         text[0] == '1';
}

/* (nullable), newly allocated: why QEMU may not have a userfaultfd. */
static char *
find_no_userfaultfd (JsonObject *configuration, const char *xml)
{
  guint uid;

  if (!domain_doctor_user (xml, json_get_string_or (configuration, "capabilities", NULL), &uid) ||
      uid == 0 || sysctl_allows())
    return NULL;
  return g_strdup_printf ("its QEMU runs as user %u, which may not have a userfaultfd: neither "
                          "background snapshots nor following its memory are possible",
                          uid);
}

/* (nullable), newly allocated: why a domain that was started prepared is not followed. */
static char *
find_untracked (JsonObject *configuration, const char *xml)
{
  guint64 pid = json_get_uint64_or (configuration, "pid", 0);
  g_autoptr (xmlDoc) doc = domain_xml_parse (xml, strlen (xml), NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (GuestRam) ram = NULL;

  if (pid == 0 || doc == NULL || !domain_is_prepared (domain_xml_root (doc)))
    return NULL;
  ram = guest_ram_find (process_id_of ((pid_t)pid), "pc.ram", &error);
  return g_strdup (ram != NULL ? guest_ram_untracked_reason (ram) : error->message);
}

static void
find_version (const char *xml, DomainCircumstances *known)
{
  g_autoptr (xmlDoc) doc = domain_xml_parse (xml, strlen (xml), NULL);
  g_autofree char *emulator =
      doc != NULL ? domain_xml_text (domain_xml_root (doc), "devices/emulator") : NULL;
  g_auto (QemuProbe) probe = { 0 };

  if (emulator == NULL || !g_path_is_absolute (emulator) || !qemu_probe (emulator, &probe, NULL))
    return;
  known->qemu_major = probe.major;
  known->qemu_minor = probe.minor;
}

JsonObject *
preparing_doctor (Domains *domains, const char *name, GCancellable *cancellable, GError **error)
{
  g_autoptr (LibvirtLink) link = NULL;
  g_autoptr (JsonObject) configuration =
      find_configuration (domains, name, &link, cancellable, error);
  DomainCircumstances known = { 0 };
  const char *live, *inactive;

  if (configuration == NULL)
    return NULL;
  live = json_get_string_or (configuration, "live_xml", NULL);
  inactive = json_get_string_or (configuration, "inactive_xml", NULL);
  const char *xml = live != NULL ? live : inactive;
  if (xml == NULL) {
    g_set_error (error, API_ERROR, API_NOT_FOUND, "domain '%s' has ended", name);
    return NULL;
  }
  g_autofree char *no_userfaultfd = find_no_userfaultfd (configuration, xml);
  g_autofree char *untracked = live != NULL ? find_untracked (configuration, xml) : NULL;
  known.running = live != NULL;
  known.no_userfaultfd = no_userfaultfd;
  known.untracked = untracked;
  find_version (xml, &known);
  return domain_doctor (xml, live != NULL ? inactive : NULL, &known, error);
}
