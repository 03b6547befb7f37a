/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/domain-prepare.h>

#include <vmckpt/util/error.h>

#include <string.h>

#define QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"
#define PREFIX "vmckpt"

#define X(text) ((const xmlChar *)(text))

/* ---- The tree, with the blanks that make it readable ---- */

/* Takes @node away, with the blanks before it. */
static void
remove_node (xmlNode *node)
{
  xmlNode *before = node->prev;

  if (before != NULL && xmlIsBlankNode (before)) {
    xmlUnlinkNode (before);
    xmlFreeNode (before);
  }
  xmlUnlinkNode (node);
  xmlFreeNode (node);
}

static guint
depth_of (const xmlNode *node)
{
  guint depth = 0;

  for (; node->parent != NULL && node->parent->type == XML_ELEMENT_NODE; node = node->parent)
    depth++;
  return depth;
}

/* A line break, and blanks for something @depth deep. */
static xmlNode *
new_indent (xmlDoc *doc, guint depth)
{
  g_autofree char *text = g_strnfill (2 * depth, ' ');
  g_autofree char *line = g_strconcat ("\n", text, NULL);

  return xmlNewDocText (doc, X (line));
}

/* Puts @node behind the last element of @parent, or behind @after (nullable). */
static void
add_node (xmlNode *parent, xmlNode *after, xmlNode *node)
{
  guint depth = depth_of (parent);

  if (after == NULL)
    for (after = parent->last; after != NULL && after->type != XML_ELEMENT_NODE;)
      after = after->prev;
  /* The blanks last: libxml2 joins texts that are side by side. */
  if (after != NULL) {
    xmlAddNextSibling (after, node);
    xmlAddNextSibling (after, new_indent (parent->doc, depth + 1));
    return;
  }
  xmlNodeSetContent (parent, NULL);
  xmlAddChild (parent, new_indent (parent->doc, depth + 1));
  xmlAddChild (parent, node);
  xmlAddChild (parent, new_indent (parent->doc, depth));
}

static gboolean
has_elements (const xmlNode *node)
{
  for (const xmlNode *child = node->children; child != NULL; child = child->next)
    if (child->type == XML_ELEMENT_NODE)
      return TRUE;
  return FALSE;
}

/* Removes @node if it has neither elements nor attributes any more. */
static void
remove_if_empty (xmlNode *node)
{
  if (!has_elements (node) && node->properties == NULL)
    remove_node (node);
}

static void
set_attribute (xmlNode *node, const char *name, const char *value)
{
  if (value != NULL)
    xmlSetProp (node, X (name), X (value));
  else
    xmlUnsetProp (node, X (name));
}

/* ---- Our element ---- */

/* (nullable): borrowed. */
static xmlNode *
find_ours (xmlNode *domain)
{
  xmlNode *metadata = domain_xml_find (domain, "metadata");

  for (xmlNode *node = metadata != NULL ? metadata->children : NULL; node != NULL;
       node = node->next)
    if (node->type == XML_ELEMENT_NODE && node->ns != NULL &&
        xmlStrEqual (node->ns->href, X (DOMAIN_PREPARED_NAMESPACE)))
      return node;
  return NULL;
}

gboolean
domain_has_preparation (xmlDoc *doc)
{
  return find_ours (domain_xml_root (doc)) != NULL;
}

/* Where libvirt has an element that is to be new: behind the first of @names that is there, which
 * are from the nearest one on. */
static xmlNode *
find_place (xmlNode *domain, const char *const *names)
{
  for (; *names != NULL; names++) {
    xmlNode *node = domain_xml_find (domain, *names);
    for (xmlNode *next; node != NULL && (next = domain_xml_next (node)) != NULL;)
      node = next;
    if (node != NULL)
      return node;
  }
  return NULL;
}

static void
add_ours (xmlNode *domain, const char *source, const char *access)
{
  static const char *const before[] = { "description", "title", "genid", "uuid", "name", NULL };
  xmlNode *metadata = domain_xml_find (domain, "metadata");
  xmlNode *ours = xmlNewDocNode (domain->doc, NULL, X ("prepared"), NULL);

  if (metadata == NULL) {
    metadata = xmlNewDocNode (domain->doc, domain->ns, X ("metadata"), NULL);
    add_node (domain, find_place (domain, before), metadata);
  }
  xmlSetNs (ours, xmlNewNs (ours, X (DOMAIN_PREPARED_NAMESPACE), X (PREFIX)));
  set_attribute (ours, "source", source);
  set_attribute (ours, "access", access);
  add_node (metadata, NULL, ours);
}

/* ---- Memory ---- */

/* Sets @attribute of the element @name of memoryBacking (NULL: without it), adding both. */
static void
set_backing (xmlNode *domain, const char *name, const char *attribute, const char *value)
{
  static const char *const before[] = { "memtune", "blkiotune", "currentMemory",
                                        "memory",  "maxMemory", "metadata",
                                        "uuid",    "name",      NULL };
  xmlNode *backing = domain_xml_find (domain, "memoryBacking");
  xmlNode *node;

  if (backing == NULL && value == NULL)
    return;
  if (backing == NULL) {
    backing = xmlNewDocNode (domain->doc, domain->ns, X ("memoryBacking"), NULL);
    add_node (domain, find_place (domain, before + 2), backing);
  }
  node = domain_xml_find (backing, name);
  if (node == NULL && value == NULL)
    return;
  if (node == NULL) {
    node = xmlNewDocNode (domain->doc, domain->ns, X (name), NULL);
    add_node (backing, NULL, node);
  }
  set_attribute (node, attribute, value);
  if (value == NULL)
    remove_if_empty (node);
}

/* ---- QEMU's environment ---- */

static xmlNode *
find_commandline (xmlNode *domain)
{
  xmlNode *node = domain_xml_find (domain, "commandline");

  while (node != NULL && (node->ns == NULL || !xmlStrEqual (node->ns->href, X (QEMU_NAMESPACE))))
    node = domain_xml_next (node);
  return node;
}

static xmlNode *
find_variable (xmlNode *domain, const char *name)
{
  xmlNode *commandline = find_commandline (domain);
  xmlNode *node = commandline != NULL ? domain_xml_find (commandline, "env") : NULL;

  while (node != NULL && !domain_xml_attribute_is (node, "", "name", name))
    node = domain_xml_next (node);
  return node;
}

/* The namespace as the document has it, declared if need be. */
static xmlNs *
qemu_namespace (xmlNode *domain)
{
  xmlNs *found = xmlSearchNsByHref (domain->doc, domain, X (QEMU_NAMESPACE));

  return found != NULL ? found : xmlNewNs (domain, X (QEMU_NAMESPACE), X ("qemu"));
}

static xmlNode *
add_to_commandline (xmlNode *domain, const char *name)
{
  xmlNs *ns = qemu_namespace (domain);
  xmlNode *commandline = find_commandline (domain), *node;

  if (commandline == NULL) {
    commandline = xmlNewDocNode (domain->doc, ns, X ("commandline"), NULL);
    add_node (domain, NULL, commandline);
  }
  node = xmlNewDocNode (domain->doc, ns, X (name), NULL);
  add_node (commandline, NULL, node);
  return node;
}

static void
set_variable (xmlNode *domain, const char *name, const char *value)
{
  xmlNode *node = find_variable (domain, name);

  if (node == NULL) {
    node = add_to_commandline (domain, "env");
    set_attribute (node, "name", name);
  }
  set_attribute (node, "value", value);
}

/* Whether an element of <domain> is of @ns: <qemu:override>, <qemu:capabilities>. */
static gboolean
is_in_use (const xmlNode *domain, const xmlNs *ns)
{
  for (const xmlNode *node = domain->children; node != NULL; node = node->next)
    if (node->type == XML_ELEMENT_NODE && node->ns == ns)
      return TRUE;
  return FALSE;
}

/* With the declaration of its namespace, which libvirt itself drops if nothing needs it. */
static void
remove_empty_commandline (xmlNode *domain)
{
  xmlNode *commandline = find_commandline (domain);
  xmlNs *ns = commandline != NULL ? commandline->ns : NULL;

  if (commandline == NULL || has_elements (commandline))
    return;
  remove_node (commandline);
  if (is_in_use (domain, ns))
    return;
  for (xmlNs **at = &domain->nsDef; *at != NULL; at = &(*at)->next)
    if (*at == ns) {
      *at = ns->next;
      xmlFreeNs (ns);
      return;
    }
}

static void
remove_variable (xmlNode *domain, const char *name)
{
  xmlNode *node = find_variable (domain, name);

  if (node != NULL)
    remove_node (node);
}

/* ---- What cannot be ---- */

static void G_GNUC_PRINTF (2, 3) add_reason (GString *reasons, const char *format, ...)
{
  va_list args;

  if (reasons->len > 0)
    g_string_append (reasons, "; ");
  va_start (args, format);
  g_string_append_vprintf (reasons, format, args);
  va_end (args);
}

static void
check_backing (xmlNode *domain, GString *reasons)
{
  xmlNode *backing = domain_xml_find (domain, "memoryBacking");
  g_autofree char *source = NULL;

  if (backing == NULL)
    return;
  source = domain_xml_attribute (backing, "source", "type");
  if (domain_xml_find (backing, "hugepages") != NULL)
    add_reason (reasons,
                "its memory is in huge pages (<hugepages/>), which cannot be followed page "
                "by page");
  if (g_strcmp0 (source, "file") == 0)
    add_reason (reasons, "its memory is in a file already (<source type='file'/>), which somebody "
                         "else may need");
}

static void
check_cells (xmlNode *domain, GString *reasons)
{
  if (domain_xml_find (domain, "cpu/numa") != NULL)
    add_reason (reasons, "its memory is divided into NUMA cells (<numa> in <cpu>)");
  if (domain_xml_find (domain, "maxMemory") != NULL ||
      domain_xml_find (domain, "devices/memory") != NULL)
    add_reason (reasons, "it has memory devices, or room for them (<maxMemory>, <memory> in "
                         "<devices>)");
}

static void
check_machine (xmlNode *domain, GString *reasons)
{
  g_autofree char *type = domain_xml_attribute (domain, "", "type");
  g_autofree char *machine = domain_xml_attribute (domain, "os/type", "machine");
  g_autofree char *arch = domain_xml_attribute (domain, "os/type", "arch");

  if (g_strcmp0 (type, "qemu") != 0 && g_strcmp0 (type, "kvm") != 0)
    add_reason (reasons, "it is a domain of type %s, not one of QEMU", type != NULL ? type : "?");
  else if (g_strcmp0 (arch, "x86_64") != 0 || machine == NULL ||
           !(g_str_has_prefix (machine, "pc") || g_str_has_prefix (machine, "q35")))
    add_reason (reasons, "it is a machine of type %s (%s), not one of x86_64's pc and q35",
                machine != NULL ? machine : "?", arch != NULL ? arch : "?");
  if (domain_xml_find (domain, "launchSecurity") != NULL)
    add_reason (reasons, "its memory is encrypted (<launchSecurity>)");
}

/* Whether an argument for QEMU is about the guest's RAM. */
static gboolean
makes_memory (const char *value)
{
  return strstr (value, "memory-backend") != NULL || g_str_equal (value, "-m") ||
         g_str_equal (value, "-mem-path") || g_str_equal (value, "-numa");
}

static void
check_arguments (xmlNode *domain, const char *preload, GString *reasons)
{
  xmlNode *commandline = find_commandline (domain);
  xmlNode *node = commandline != NULL ? domain_xml_find (commandline, "arg") : NULL;
  xmlNode *env = find_variable (domain, "LD_PRELOAD");
  g_autofree char *there = env != NULL ? domain_xml_attribute (env, "", "value") : NULL;

  for (; node != NULL; node = domain_xml_next (node)) {
    g_autofree char *value = domain_xml_attribute (node, "", "value");
    if (value != NULL && makes_memory (value))
      add_reason (reasons, "its <qemu:arg value='%s'/> is about memory itself", value);
  }
  if (there != NULL && !g_str_equal (there, preload))
    add_reason (reasons, "it has LD_PRELOAD in its <qemu:env> already (%s)", there);
}

static gboolean
refuse (xmlNode *domain, const char *verb, const char *reasons, GError **error)
{
  g_autofree char *name = domain_xml_text (domain, "name");

  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE, "domain %s cannot be %s: %s",
               name != NULL ? name : "?", verb, reasons);
  return FALSE;
}

static gboolean
check_possible (xmlNode *domain, const char *preload, GError **error)
{
  g_autoptr (GString) reasons = g_string_new (NULL);

  check_machine (domain, reasons);
  check_backing (domain, reasons);
  check_cells (domain, reasons);
  check_arguments (domain, preload, reasons);
  return reasons->len == 0 || refuse (domain, "prepared", reasons->str, error);
}

/* ---- There and back ---- */

gboolean
domain_prepare (xmlDoc *doc, const char *preload, GError **error)
{
  xmlNode *domain = domain_xml_root (doc);
  g_autofree char *source = domain_xml_attribute (domain, "memoryBacking/source", "type");
  g_autofree char *access = domain_xml_attribute (domain, "memoryBacking/access", "mode");

  if (!domain_has_preparation (doc)) {
    if (!check_possible (domain, preload, error))
      return FALSE;
    add_ours (domain, source, access);
  }
  set_backing (domain, "source", "type", "file");
  set_backing (domain, "access", "mode", "shared");
  set_variable (domain, "LD_PRELOAD", preload);
  set_variable (domain, DOMAIN_RAM_FILE_VARIABLE, "pc.ram");
  return TRUE;
}

/* Whether everything is still as it was made. */
static gboolean
check_untouched (xmlNode *domain, GError **error)
{
  if (!domain_xml_attribute_is (domain, "memoryBacking/source", "type", "file") ||
      !domain_xml_attribute_is (domain, "memoryBacking/access", "mode", "shared"))
    return refuse (domain, "put back",
                   "its <memoryBacking> was changed since it was prepared; take <vmckpt:prepared>, "
                   "LD_PRELOAD and " DOMAIN_RAM_FILE_VARIABLE " out by hand ('virsh edit')",
                   error);
  return TRUE;
}

gboolean
domain_unprepare (xmlDoc *doc, GError **error)
{
  xmlNode *domain = domain_xml_root (doc);
  xmlNode *ours = find_ours (domain), *backing;
  g_autofree char *source = NULL, *access = NULL;

  if (ours == NULL)
    return TRUE;
  if (!check_untouched (domain, error))
    return FALSE;
  source = domain_xml_attribute (ours, "", "source");
  access = domain_xml_attribute (ours, "", "access");
  set_backing (domain, "source", "type", source);
  set_backing (domain, "access", "mode", access);
  backing = domain_xml_find (domain, "memoryBacking");
  if (backing != NULL)
    remove_if_empty (backing);
  remove_variable (domain, "LD_PRELOAD");
  remove_variable (domain, DOMAIN_RAM_FILE_VARIABLE);
  remove_empty_commandline (domain);
  xmlNode *metadata = ours->parent;
  remove_node (ours);
  remove_if_empty (metadata);
  return TRUE;
}
