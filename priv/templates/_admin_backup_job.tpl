<div class="well well-sm">
    <strong>{% include "_admin_backup_phase.tpl" job=job %}</strong>
    {% if job.done %}
        <span class="pull-right text-muted">
            {{ job.done }}{% if job.total %} / {{ job.total }}{% endif %}
            {% if job.rate %}&ndash; {% trans "{rate} a second" rate=job.rate %}{% endif %}
        </span>
    {% endif %}
    <div class="progress" style="margin: 8px 0 0">
        {% if job.percent|is_defined %}
            <div class="progress-bar" role="progressbar" aria-label="{_ Progress _}"
                 aria-valuemin="0" aria-valuemax="100" aria-valuenow="{{ job.percent }}"
                 style="min-width: 3em; width: {{ job.percent }}%">{{ job.percent }}%</div>
        {% else %}
            <div class="progress-bar progress-bar-striped active" role="progressbar" aria-label="{_ Progress _}"
                 aria-valuetext="{_ in progress _}" style="width: 100%"></div>
        {% endif %}
    </div>
</div>
