<div class="widget">
    <h3 class="widget-header">{_ Revisions of pages _}</h3>
    <div class="widget-content">
        <div class="checkbox">
            <label>
                <input id="backup_panel" name="backup_panel" type="checkbox" value="1" {% if m.backup.admin_panel %}checked{% endif %}>
                {_ Show a panel for backup and restore on the edit page _}
            </label>
        </div>
        {% wire id="backup_panel" postback=`config_backup_panel` delegate=`controller_admin_backup` %}
        <p class="help-block">
            {% trans "Revisions are kept for {n} months," n=m.backup_revision.retention_months %}
            {% trans "those of users for {n} days," n=m.backup_revision.user_retention_days %}
            {% trans "those of deleted users for {n} days." n=m.backup_revision.deleted_user_retention_days %}
        </p>
    </div>
</div>
