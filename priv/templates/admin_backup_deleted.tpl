{% extends "admin_base.tpl" %}

{% block title %}{_ Deleted pages _}{% endblock %}

{% block content %}
<div class="admin-header">
    <h2>{_ Deleted pages _}</h2>
    <p>
        {_ These pages can be recovered with their connections. _}
        {_ Media files come back as long as they are kept: four weeks after they were deleted, or as long as the cloud file store keeps them. _}
    </p>
</div>

{% with m.search.backup_deleted::%{ page: q.page, pagelen: 20 } as result %}
    {% if not result.result %}
        <p class="alert alert-info">{_ There are no deleted pages that can be recovered. _}</p>
    {% else %}
    <table class="table table-striped" id="deleted-pages">
        <thead>
            <tr>
                <th>{_ Title _}</th>
                <th>{_ Category _}</th>
                <th>{_ Deleted on _}</th>
                <th class="hidden-xs">{_ Deleted by _}</th>
                <th></th>
            </tr>
        </thead>
        <tbody>
        {% for r in result.result %}
            <tr>
                <td>
                    <a href="{% url admin_backup_revision id=r.rsc_id %}">
                        {% if r.is_unreadable %}<em>{_ cannot be read _}</em>{% else %}{{ r.title_html|default:_"Untitled" }}{% endif %}
                    </a>
                    <span class="text-muted">{{ r.rsc_id }}</span>
                    {% if r.new_id %}
                        <br>&rarr; <a href="{% url admin_edit_rsc id=r.new_id %}">{{ r.new_id.title|default:_"Untitled" }}</a>
                        <span class="text-muted">{{ r.new_id }}</span>
                    {% endif %}
                </td>
                <td>{{ r.category_id.title|default:"–" }}</td>
                <td>{{ r.created|date:"Y-m-d H:i" }}</td>
                <td class="hidden-xs">{{ r.user_html }}</td>
                <td><a class="btn btn-default btn-xs" href="{% url admin_backup_revision id=r.rsc_id %}">{_ Recover… _}</a></td>
            </tr>
        {% endfor %}
        </tbody>
    </table>
    {% pager result=result dispatch="admin_backup_deleted" qargs %}
    {% endif %}
{% endwith %}
{% endblock %}
