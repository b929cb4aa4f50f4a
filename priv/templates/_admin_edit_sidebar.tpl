{% extends "admin_edit_widget_std.tpl" %}

{% block widget_wrapper %}
    {% if m.backup.admin_panel %}{% inherit %}{% endif %}
{% endblock %}

{% block widget_title %}
{_ Revisions _}
<div class="widget-header-tools"></div>
{% endblock %}

{% block widget_show_minimized %}true{% endblock %}
{% block widget_id %}admin_backup_sidebar{% endblock %}

{% block widget_content %}
    {% if id.is_editable %}
        <p><a href="{% url admin_backup_revision id=id %}">{_ Earlier versions of this page _}</a></p>
        <p>
            {% if m.modules.active.mod_export %}
                <a class="btn btn-default btn-sm" href="{% url export_rsc type="bert" id=id %}">{_ Save to a file _}</a>
            {% endif %}
            {% button class="btn btn-default btn-sm" text=_"Replace by a file…"
                action={dialog_open title=_"Replace this page by a file" template="_dialog_backup_revision_upload.tpl" id=id}
            %}
        </p>
    {% endif %}
{% endblock %}
